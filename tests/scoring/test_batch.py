"""Scoring tables: what training saw, scoring sees; the contract's columns and shares are kept; the file is whole or not there."""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.dataset import dataset

from nightgate.contracts.gate import GateResult
from nightgate.errors import ContractBroken, DataUnusable, FileMissing, NightgateError, SourceUnavailable, UsageError
from nightgate.scoring import batch
from nightgate.scoring.batch import score
from nightgate.scoring.scorer import load_scorer
from nightgate.settings import Settings
from nightgate.store import Store
from tests.projects import SMALL, copied, edit_contract, people, project, run_plainly

KINDS = """
[columns]
categorical = ["age"]
"""


def applications(rows: int = 1_200, seed: int = 0) -> pd.DataFrame:
    """Return people with a key, an event time, a date, a flag, gaps and cities that somebody typed."""
    random, frame = np.random.default_rng(seed), people(rows, seed)
    moments = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows) * 3, unit="h")
    frame["city"] = frame["city"].where(random.random(rows) > 0.1, frame["city"] + " ")
    frame["income"] = frame["income"].where(random.random(rows) > 0.05)
    return frame.assign(age=frame["age"] // 10, person=np.arange(rows), asked=moments, vip=random.random(rows) > 0.5,
                        born=moments - pd.to_timedelta(random.integers(7_000, 20_000, rows), unit="D"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project whose model has columns of every kind, one of them masked, and a champion."""
    made = project(tmp_path_factory.mktemp("scored"), applications(), extra=SMALL + KINDS,
                   entity=("person",), time="asked", mask=("city",))
    record = run_plainly(made)
    assert record is not None and record.verdict == "promoted", record
    return made


def test_training_and_scoring_do_not_differ(place: Settings) -> None:
    """The release, fed with raw rows, says what the pipeline said of the feature table on the hold-out."""
    (held_out,) = Path(place.store_url, "predictions").glob("*.parquet")
    scorer = load_scorer(place, "credit", 1)

    rows, misfits = scorer.typed(pa.Table.from_pandas(applications()), {})
    said = set(np.round(scorer.predict(rows), 9))

    assert not misfits and "Bern" not in str(rows["city"][:5].to_pylist())
    assert set(np.round(pd.read_parquet(held_out)["probability"], 9)) <= said


@pytest.mark.parametrize("rows", [1, 7, 600])
def test_a_table_is_scored_whole(rows: int, place: Settings, tmp_path: Path) -> None:
    applications(rows, seed=3).drop(columns="default").to_csv(tmp_path / "new.csv", index=False)
    seen: list[GateResult] = []

    made = score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "out" / "scored.parquet", show=seen.append)
    scored = pd.read_parquet(made.output)

    assert (made.rows, made.version) == (rows, 1)
    assert list(scored) == ["person", "asked", "prediction", "probability", "model_version"]
    assert list(scored["person"]) == list(range(rows)) and set(scored["prediction"]) <= {"no", "yes"} and set(scored["model_version"]) == {1}
    assert [(each.boundary, each.success) for each in seen] == [("raw", True), ("predictions", True)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scored.parquet"]


@pytest.mark.parametrize(("change", "error"), [
    (lambda frame: frame.assign(income=frame["income"] * 1_000), ContractBroken), (lambda frame: frame.head(3).assign(income=1e6), ContractBroken),
    (lambda frame: frame.assign(person=None), ContractBroken), (lambda frame: frame.drop(columns="city"), DataUnusable),
    (lambda frame: frame.assign(vip="perhaps"), DataUnusable), (lambda frame: frame.iloc[:0], DataUnusable)],
    ids=["units", "few rows", "no key", "no column", "misfit", "no rows"])
def test_a_table_that_breaks_the_contract_is_not_scored(change: Any, error: type[NightgateError], place: Settings, tmp_path: Path) -> None:
    change(applications(600, seed=3)).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "scored.parquet").write_text("yesterday's")

    with pytest.raises(error):
        score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "scored.parquet")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "scored.parquet"]
    assert (tmp_path / "scored.parquet").read_text() == "yesterday's"


@pytest.fixture(scope="module")
def fresh(place: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give the project again, with a contract that wants events of the last three hours of a night."""
    made = copied(place.root, tmp_path_factory.mktemp("fresh") / "project")
    edit_contract(made, "raw", {"type": "expect_column_max_to_be_between", "meta": {}, "kwargs": {
        "column": "asked", "min_value": {"$PARAMETER": "now() - timedelta(hours=3)"}}})
    return made


TODAY = pd.Timestamp.now("UTC").tz_localize(None).normalize()
LAST_YEAR = pd.Timestamp("2025-05-31")


@pytest.mark.parametrize(("night", "asked"), [
    (TODAY, {}), (TODAY, {"window": "monday"}), (TODAY, {"window": "2100-01-01"}), (LAST_YEAR, {"window": "2025-05-31"}),
    (LAST_YEAR, {"as_of": date(2025, 5, 31)}), (LAST_YEAR, {"as_of": date(2025, 5, 31), "window": "2025-06-07"})], ids=str)
def test_freshness_is_told_at_the_night_that_ends_the_table(night: pd.Timestamp, asked: Any, fresh: Settings, tmp_path: Path) -> None:
    """Whatever the clock says while it is scored."""
    def scored(hours: int) -> int:
        frame = applications(600, seed=3)
        late = night - pd.Timedelta(hours=hours) - frame["asked"].max()
        frame.assign(asked=frame["asked"] + late).to_csv(tmp_path / "new.csv", index=False)
        return score(fresh, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "scored.parquet", **asked).rows

    assert scored(hours=2) == 600
    with pytest.raises(ContractBroken, match="asked"):
        scored(hours=4)


def test_a_night_of_the_future_cannot_be_scored(place: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2100-01-01 is in the future"):
        score(place, "credit", source="data.csv", output=tmp_path / "scored.parquet", as_of=date(2100, 1, 1))


@pytest.mark.parametrize(("source", "output"), [
    ("new.parquet", "new.parquet"), ("new.parquet", "x/../new.parquet"), ("new.parquet", "link.parquet"), ("link.parquet", "new.parquet"),
    ("new.parquet", "hard.parquet"), ("n*.parquet", "new.parquet"), ("file://new.parquet", "new.parquet"), ("", "scores/"), ("", "new.parquet")])
def test_a_table_is_not_replaced_by_what_is_said_of_it(source: str, output: str, place: Settings, tmp_path: Path) -> None:
    applications(50, seed=3).to_parquet(tmp_path / "new.parquet", index=False)
    (tmp_path / "x").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "new.parquet")
    (tmp_path / "hard.parquet").hardlink_to(tmp_path / "new.parquet")
    before, scheme = (tmp_path / "new.parquet").read_bytes(), "file://" if source.startswith("file://") else ""

    with pytest.raises(UsageError, match="is the input"):
        score(place, "credit", source=f"{scheme}{tmp_path}/{source.removeprefix('file://')}", output=f"{tmp_path}/{output}")

    assert (tmp_path / "new.parquet").read_bytes() == before and not (tmp_path / "scores").exists()
    assert not [*Path(place.store_url, "scoring").glob("*/*")]


def test_a_parquet_table_is_scored_alike(place: Settings, tmp_path: Path) -> None:
    applications(50, seed=3).to_csv(tmp_path / "new.csv", index=False)
    applications(50, seed=3).to_parquet(tmp_path / "new.parquet", index=False)

    made = [score(place, "credit", source=str(tmp_path / f"new.{kind}"), output=tmp_path / f"{kind}.parquet") for kind in ("csv", "parquet")]

    assert pq.read_table(made[0].output).equals(pq.read_table(made[1].output))


def test_nothing_is_scored_without_a_champion(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match="champion"):
        score(project(tmp_path), "credit", source="data.csv", output=tmp_path / "scored.parquet")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_a_window_that_is_scored_again_replaces_what_it_gave_before(kind: str, place: Settings, tmp_path: Path) -> None:
    """Also when other rows came meanwhile; another window beside it stays."""
    output = f"{tmp_path}/out/" if kind == "folder" else f"sqlite:///{tmp_path}/scores.db#scores"

    def rows(window: str) -> int:
        if kind == "folder":
            return pq.read_metadata(tmp_path / f"out/window={window}/scored.parquet").num_rows
        return int(pd.read_sql(f"SELECT count(*) FROM scores WHERE scored_window = '{window}'", output.partition("#")[0]).iloc[0, 0])

    for window, count in (("monday", 40), ("tuesday", 60), ("monday", 40), ("monday", 50)):
        applications(count, seed=3).to_csv(tmp_path / "new.csv", index=False)
        made = score(place, "credit", source=str(tmp_path / "new.csv"), output=output, window=window)
        assert (made.window, made.rows) == (window, count)

    assert (rows("monday"), rows("tuesday")) == (50, 60)


def test_a_run_that_was_killed_goes_on_where_it_was(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applications(600, seed=3).to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.setattr(batch, "GROUP", 200)
    monkeypatch.setattr(batch, "MOST_AT_ONCE", 1)
    score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "whole.parquet")
    scored: list[int] = []
    really = batch._write_part

    def killed_at_the_second(scorer: Any, work: Store, number: int) -> None:
        if number == 1 and not scored.count(-1):
            scored.append(-1)
            raise KeyboardInterrupt
        scored.append(number)
        really(scorer, work, number)

    monkeypatch.setattr(batch, "_write_part", killed_at_the_second)
    for error in (KeyboardInterrupt, None):
        with pytest.raises(error) if error else contextlib.nullcontext():
            score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "again.parquet")

    assert scored == [0, -1, 1, 2]
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))
    assert not any(place.store.folder("scoring/credit").iterdir())


def test_two_runs_of_the_same_scoring_wait_for_each_other(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applications(600, seed=3).to_csv(tmp_path / "new.csv", index=False)
    at_work, most = [0], [0]
    really = batch._write_typed

    def counted(*arguments: Any) -> int:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.3)
        at_work[0] -= 1
        return really(*arguments)

    monkeypatch.setattr(batch, "_write_typed", counted)
    with ThreadPoolExecutor(2) as two:
        made = list(two.map(lambda _: score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "out.parquet"), range(2)))

    assert [each.rows for each in made] == [600, 600] and most == [1]
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 600


def test_windows_that_look_alike_do_not_replace_each_other(place: Settings, tmp_path: Path) -> None:
    applications(40, seed=3).to_csv(tmp_path / "new.csv", index=False)
    windows = ["2026-11-24 01:00", "2026-11-24_01_00", "../24"]
    for window in windows:
        score(place, "credit", source=str(tmp_path / "new.csv"), output=f"{tmp_path}/out/", window=window)

    assert sorted(dataset(tmp_path / "out", partitioning="hive").to_table(["window"])["window"].unique().to_pylist()) == sorted(windows)


def test_several_at_once_score_the_same(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applications(600, seed=3).to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.setattr(batch, "GROUP", 200)

    for count in (1, 2):
        monkeypatch.setattr(batch, "cpu_count", lambda count=count: count)
        score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / f"{count}.parquet")

    assert pq.read_table(tmp_path / "1.parquet").equals(pq.read_table(tmp_path / "2.parquet"))


def test_a_database_needs_a_table_and_is_told_without_its_password(place: Settings, tmp_path: Path) -> None:
    applications(50, seed=3).to_csv(tmp_path / "new.csv", index=False)

    with pytest.raises(UsageError, match="table"):
        score(place, "credit", source=str(tmp_path / "new.csv"), output="postgresql://u:secret@127.0.0.1:9/db")
    with pytest.raises(SourceUnavailable) as told:
        score(place, "credit", source=str(tmp_path / "new.csv"), output=f"sqlite:///{tmp_path}/no/such/folder.db?password=secret#scores")
    assert "secret" not in str(told.value)


def test_nan_spelt_as_text_is_scored_as_it_is_trained(place: Settings, tmp_path: Path) -> None:
    frame = applications(50, seed=3).astype({"income": object})
    frame.loc[3, "income"] = "NaN"
    frame.to_csv(tmp_path / "new.csv", index=False)

    assert score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "scored.parquet").rows == 50
