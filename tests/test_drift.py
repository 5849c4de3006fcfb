"""Drift: quiet on the same world, loud on another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.drift import compare, read
from nightgate.errors import DataUnusable, FileMissing
from nightgate.monitoring import compare_model
from tests.projects import people, project, run_plainly


@given(st.integers(0, 1_000), st.integers(100, 400))
def test_drift_with_itself_is_nothing(seed: int, rows: int) -> None:
    frame = people(rows, seed)

    found = compare(frame, frame, data="x")

    assert found.alarm == found.watch == 0
    assert all(each.distance == 0 for each in found.columns)


@pytest.mark.parametrize("rows", [150, 1_000])
def test_clean_nights_are_quiet(rows: int) -> None:
    def night(rows: int, seed: int) -> pd.DataFrame:
        frame = people(rows, seed)
        return frame.assign(income=frame["income"].where(np.random.default_rng(seed).random(rows) > 0.1))

    reference = night(5_000, 0)

    assert sum(compare(reference, night(rows, seed), data="x").alarm for seed in range(1, 101)) <= 1


def changed(name: str) -> pd.DataFrame:
    frame = people(2_000, seed=5)
    match name:
        case "income":
            frame["income"] += 5
        case "city":
            frame.loc[frame.index % 5 == 0, "city"] = "Zug"
        case "age":
            frame["age"] = frame["age"].where(frame.index % 4 > 0)
        case "gone":
            return frame.drop(columns="income")
        case "type":
            frame["income"] = "much"
    return frame


@pytest.mark.parametrize(("change", "column"), [("income", "income"), ("city", "city"), ("age", "age"), ("gone", "income"), ("type", "income")])
def test_changes_are_named(change: str, column: str) -> None:
    found = {each.column: each.verdict for each in compare(people(5_000), changed(change), data="x").columns}

    assert {name for name, verdict in found.items() if verdict == "alarm"} == {column}


def test_few_rows_are_undecided_and_never_fine() -> None:
    found = compare(people(5_000), people(50), data="x")

    assert {each.verdict for each in found.columns} == {"undecided"}
    assert compare(people(500), people(500).iloc[:0], data="x").columns[0].verdict == "undecided"


def test_a_model_is_compared_with_what_it_was_trained_on(tmp_path: Path) -> None:
    place = project(tmp_path)
    with pytest.raises(FileMissing, match="champion"):
        compare_model(place, "credit")
    run_plainly(place)
    assert compare_model(place, "credit").alarm == 0

    shifted = people(600, seed=1)
    shifted["income"] += np.float64(20)
    shifted.to_csv(tmp_path / "data.csv", index=False)

    assert [each.column for each in compare_model(place, "credit").columns if each.verdict == "alarm"] == ["income"]


def test_a_model_with_event_time_is_compared_by_its_newest_rows(tmp_path: Path) -> None:
    frame = people(4_000)
    frame["asked"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(4_000) * 10, unit="min")
    place = project(tmp_path, frame, time="asked")
    run_plainly(place)
    assert compare_model(place, "credit").alarm == 0

    frame.loc[frame["asked"] > frame["asked"].max() - pd.Timedelta(days=7), "income"] += 5
    frame.to_csv(tmp_path / "data.csv", index=False)

    found = compare_model(place, "credit")
    assert (found.rows, [each.column for each in found.columns if each.verdict == "alarm"]) == (1_008, ["income"])


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut")

    with pytest.raises(DataUnusable, match=r"x\.parquet"):
        read(tmp_path / "x.parquet")
