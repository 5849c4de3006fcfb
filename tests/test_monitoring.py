"""Monitoring of a model: its profile, what it sees, and what is compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightgate.drift.policy import PREDICTION
from nightgate.drift.reference import LARGEST, packed
from nightgate.errors import FileMissing
from nightgate.monitoring import PROFILE, monitor, reference_of
from nightgate.watching import look
from tests.projects import people, project, run_plainly


def alarms(place: object, model: str = "credit") -> set[str]:
    compared = monitor(place, model).compared  # type: ignore[arg-type]
    return {each.column for each in compared.found.columns if each.verdict == "alarm"}


def timed(rows: int = 4_000) -> pd.DataFrame:
    return people(rows).assign(asked=pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows) * 10, unit="min"))


def test_a_model_is_compared_with_what_it_was_trained_on(tmp_path: Path) -> None:
    place = project(tmp_path)
    with pytest.raises(FileMissing, match="champion"):
        monitor(place, "credit")
    run_plainly(place)
    assert alarms(place) == set()

    shifted = people(600, seed=1)
    shifted["income"] += np.float64(20)
    shifted.to_csv(tmp_path / "data.csv", index=False)

    assert alarms(place) == {"income", PREDICTION}


def test_a_model_that_has_learnt_rows_by_heart_is_not_compared_by_these(tmp_path: Path) -> None:
    place = project(tmp_path, people(1_000, strength=1.0), extra='\n[candidates.forest]\nestimator = "forest"\n')
    run_plainly(place)

    compared = monitor(place, "credit").compared

    assert alarms(place) == set()
    assert compared.current.columns[PREDICTION].known < compared.found.rows == 1_000


def test_a_run_writes_the_profile_that_monitoring_compares_with(tmp_path: Path) -> None:
    place = project(tmp_path, timed(), time="asked")
    record = run_plainly(place)
    assert record is not None

    reference = reference_of(place, "credit", record.run)

    assert {*reference.profile.columns} == {"income", "age", "city", PREDICTION}
    assert reference.calibrated and reference.importances["income"] > 0
    assert len(place.store.read(f"runs/credit/1/{PROFILE}")) < LARGEST


def test_a_release_without_a_profile_is_compared_with_its_snapshot(tmp_path: Path) -> None:
    place = project(tmp_path)
    run_plainly(place)
    place.store.remove(f"runs/credit/1/{PROFILE}")

    assert alarms(place) == set()


@pytest.mark.parametrize("content", [b"torn", packed({"layout": 0})], ids=["torn", "older"])
def test_a_profile_that_cannot_be_read_is_made_anew_and_told(content: bytes, tmp_path: Path) -> None:
    place = project(tmp_path)
    run_plainly(place)
    place.store.write(f"runs/credit/1/{PROFILE}", content)

    night = look(place, "credit")

    assert night.night.success and night.night.columns["income"]["verdict"] == "quiet"
    (told,) = night.monitored.odd
    assert told.startswith("The reference profile") and told in Path(str(night.night.report)).read_text()


def test_a_model_with_event_time_is_compared_by_its_newest_week(tmp_path: Path) -> None:
    frame = timed()
    place = project(tmp_path, frame, time="asked")
    run_plainly(place)
    assert alarms(place) == set()

    frame.loc[frame["asked"] >= frame["asked"].max().normalize() - pd.Timedelta(days=6), "income"] += 5
    frame.to_csv(tmp_path / "data.csv", index=False)

    compared = monitor(place, "credit").compared
    week = int((frame["asked"] >= frame["asked"].max().normalize() - pd.Timedelta(days=6)).sum())
    assert compared.found.rows == week and "income" in alarms(place)
