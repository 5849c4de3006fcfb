"""Which nights are due: each date once whatever the clocks do, and missed ones as the definition says."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.definition.model import Schedule
from nightgate.errors import NotNeeded
from nightgate.records import RunRecord, write_record
from nightgate.schedules import demand, due, missed, night_of
from nightgate.store import Store

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = Schedule(cron="30 2 * * *", timezone="Europe/Berlin")


def at(day: int, hour: int = 2, minute: int = 30) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=BERLIN)


def ran(folder: Path, *days: int, verdict: str = "kept") -> Store:
    """Return a store with a scheduled run for each of these days of June."""
    store = Store(str(folder))
    for number, day in enumerate(days, start=1):
        write_record(store, RunRecord("credit", number, "", str(date(2026, 6, day)), verdict, "", None, None,  # type: ignore[arg-type]
                                      scheduled=at(day).isoformat()))
    return store


@pytest.mark.parametrize("first", [datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 10, 23, 12, tzinfo=UTC)], ids=["spring", "autumn"])
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "59 1 * * *", "0 3 * * *", "0 0 * * *"])
def test_a_change_of_the_clock_makes_exactly_one_night_a_date(cron: str, first: datetime) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    schedule = Schedule(cron=cron, timezone="Europe/Berlin")
    ours = [night_of(schedule, moment) for moment in due(schedule, first, first + timedelta(days=5))]
    theirs = [night_of(schedule, moment) for moment in asyncio.run(CronSchedule(cron=cron, timezone="Europe/Berlin").get_dates(5, start=first))]

    assert ours == sorted(set(ours)) and len(ours) == 5
    assert theirs[:5] == sorted(set(theirs))[:5] and {*ours[1:-1]} <= {*theirs}


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(1, 40),
       st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]))
def test_every_date_is_due_once(start: datetime, days: int, zone: str) -> None:
    schedule = Schedule(cron="30 2 * * *", timezone=zone)
    begin = start.replace(tzinfo=UTC)

    nights = [night_of(schedule, moment) for moment in due(schedule, begin, begin + timedelta(days=days))]

    assert nights == [nights[0] + timedelta(days=number) for number in range(len(nights))] and days - 1 <= len(nights) <= days + 1


def test_a_night_runs_once_whoever_asks(tmp_path: Path) -> None:
    with pytest.raises(NotNeeded, match="2026-06-10 has its run already: 1, kept"):
        demand(ran(tmp_path, 10), "credit", NIGHTLY, at(10), at(10, 3))


def test_a_failed_night_may_run_again(tmp_path: Path) -> None:
    demand(ran(tmp_path, 10, verdict="failed"), "credit", NIGHTLY, at(10), at(10, 3))


@pytest.mark.parametrize(("how", "late", "runs"), [
    ("latest", timedelta(hours=5), True), ("latest", timedelta(days=1, hours=1), False), ("skip", timedelta(minutes=40), True),
    ("skip", timedelta(hours=5), False), ("all", timedelta(days=9), True)])
def test_a_late_night_runs_as_the_definition_says(how: str, late: timedelta, runs: bool, tmp_path: Path) -> None:
    schedule = NIGHTLY.model_copy(update={"missed": how})

    if runs:
        demand(ran(tmp_path), "credit", schedule, at(10), at(10) + late)
    else:
        with pytest.raises(NotNeeded, match="was missed"):
            demand(ran(tmp_path), "credit", schedule, at(10), at(10) + late)


@pytest.mark.parametrize(("how", "expected"), [("latest", [13]), ("all", [11, 12, 13]), ("skip", [])])
def test_missed_nights_are_caught_up_as_the_definition_says(how: str, expected: list[int], tmp_path: Path) -> None:
    found = missed(ran(tmp_path, 9, 10), "credit", NIGHTLY.model_copy(update={"missed": how}), at(13, 9))

    assert found == [at(day) for day in expected]


def test_nothing_was_missed_before_a_first_night(tmp_path: Path) -> None:
    assert missed(ran(tmp_path), "credit", NIGHTLY, at(13, 9)) == []


def test_runs_by_hand_are_no_nights(tmp_path: Path) -> None:
    store = ran(tmp_path, 10)
    write_record(store, replace(RunRecord("credit", 2, "", "2026-06-12", "kept", "", None, None), scheduled=None))

    assert missed(store, "credit", NIGHTLY, at(12, 9)) == [at(12)]
