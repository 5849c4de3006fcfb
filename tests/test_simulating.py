"""Simulation: a stream drifts, and requests, log, monitoring, retraining, promotion and service are the real ones."""

import re
from datetime import date
from pathlib import Path

import pytest

from nightgate.authoring import Wanted, make
from nightgate.errors import UsageError
from nightgate.settings import Settings
from nightgate.simulating import simulate
from tests.projects import SMALL, project, settings_of

ROWS = '{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}'


def applications(folder: Path, *, contract: str = ROWS) -> Settings:
    """Make a project of the stream whose outcomes are known within days, so that few nights show the whole loop."""
    (folder / "models").mkdir()
    (folder / "pyproject.toml").write_text("")
    place = settings_of(folder)
    source: dict[str, str | bool] = {"data": "stream:credit_applications?rows_per_day=800&label_days=0", "arrived": "known_at"}
    made = make(place, Wanted("applications", source, "defaulted", entity=("applicant",), time="applied_at"))
    text = re.sub('salt = "[0-9a-f]+"', 'salt = "00000000"', made.definition.read_text())
    made.definition.write_text(f"{text}\n[window]\ndays = 21\n{SMALL}")
    for boundary in ("raw", "features", "predictions"):  # the stream's owner has said that what comes is real
        rule = contract if boundary == "raw" else ROWS
        (place.contracts_of("applications") / f"{boundary}.json").write_text(f'{{"name": "x", "expectations": [{rule}]}}')
    return place


def test_the_loop_closes_through_the_real_service(tmp_path: Path) -> None:
    place = applications(tmp_path)

    found = simulate(place, "applications", nights=16, drift="concept", schedules=["on drift"], until=date(2026, 6, 1))

    (closed,) = found.outcomes
    alarmed = next(number for number, night in enumerate(closed.nights) if night.alarms)
    assert (found.nights[0], found.nights[-1]) == ("2026-05-16", "2026-05-31") and alarmed > 5
    assert found.told == "concept drift from 2026-05-21 on, its first labels are known on 2026-05-21"
    assert closed.alarms == [f"{found.nights[alarmed]}: loss of performance"]
    retrainings = [(number, night.retraining) for number, night in enumerate(closed.nights) if night.retraining]
    assert retrainings == [(0, "promoted"), (alarmed, "kept"), (alarmed + 1, "promoted")] and closed.promotions == 2
    assert [night.version for night in closed.nights] == [1] * (alarmed + 1) + [3] * (15 - alarmed)
    assert closed.answers == sum(night.answers for night in closed.nights) > 10_000 and not any(night.refused for night in closed.nights)
    assert closed.loss is not None and 0.7 < closed.loss.value < 0.8
    assert not (place.root / ".nightgate" / "releases").exists()


def test_requests_that_the_contract_refuses_are_counted_and_monitoring_goes_on(tmp_path: Path) -> None:
    place = applications(tmp_path, contract='{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "purpose", "value_set": ["car", "home", "debt", "study", "business"]}}')

    (closed,) = simulate(place, "applications", nights=4, drift="category", schedules=["never"], until=date(2026, 6, 1)).outcomes

    refused = [night.refused / (night.answers + night.refused) for night in closed.nights]
    assert refused[:1] == [0.0] and all(0.1 < share < 0.2 for share in refused[1:])


def test_a_model_of_a_file_is_not_simulated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stream"):
        simulate(project(tmp_path), "credit", nights=2, drift="shift")
