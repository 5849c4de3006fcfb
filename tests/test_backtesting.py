"""Backtests: a model's nights replayed under several schedules, with labels as late as they were."""


from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightgate.backtesting import backtest
from nightgate.errors import UsageError
from nightgate.settings import Settings
from tests.projects import people, project


def turning(tmp_path: Path) -> Settings:
    """Make a project whose last third of the days are another world: who earns more defaults less, and incomes are higher."""
    frame = people(6_000, strength=2.0)
    frame["asked"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(6_000) * 10, unit="min")
    other = frame["asked"] >= "2026-02-05"
    frame["default"] = frame["default"].where(~other, frame["default"].map({"yes": "no", "no": "yes"}))
    frame.loc[other, "income"] += 8
    place = project(tmp_path, frame, time="asked", extra='\n[candidates.logistic]\nestimator = "logistic"\n')
    for boundary in ("raw", "features", "predictions"):
        (place.contracts_of("credit") / f"{boundary}.json").write_text('{"name": "x", "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}')
    return place


def test_schedules_are_compared_on_the_same_answers(tmp_path: Path) -> None:
    place = turning(tmp_path)

    found = backtest(place, "credit", nights=9, schedules=["never", "on drift"])

    never, closed = found.outcomes
    assert (never.retrainings, never.promotions, never.answers) == (1, 1, closed.answers) and never.answers > 1_000
    assert closed.retrainings >= 2 and closed.alarms and closed.alarms[0] > "2026-02-05"
    assert never.loss is not None and closed.loss is not None and closed.loss.value >= never.loss.value - 0.01
    assert not (tmp_path / ".nightgate" / "runs").exists() and found.nights[-1] == "2026-02-11"


def test_a_night_that_a_gate_stops_is_told_and_the_next_one_comes(tmp_path: Path) -> None:
    place = turning(tmp_path)
    (place.contracts_of("credit") / "raw.json").write_text('{"name": "x", "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 10000000}}]}')

    found = backtest(place, "credit", nights=2, schedules=["weekly"]).outcomes[0]

    assert (found.stops, found.promotions, found.loss) == (2, 0, None) and "raw contract" in found.failed[0]


def test_a_schedule_of_every_few_nights_and_one_that_is_none(tmp_path: Path) -> None:
    place = turning(tmp_path)

    found = backtest(place, "credit", nights=4, schedules=["every 3 nights"]).outcomes[0]

    assert [bool(night.retraining) for night in found.nights] == [True, False, False, True]
    for odd in ("every 0 nights", "monthly"):
        with pytest.raises(UsageError, match="is no schedule"):
            backtest(place, "credit", nights=4, schedules=[odd])


def test_a_model_without_event_time_is_told(tmp_path: Path) -> None:
    place = project(tmp_path)

    with pytest.raises(UsageError, match="event time"):
        backtest(place, "credit", nights=2)
