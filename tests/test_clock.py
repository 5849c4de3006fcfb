"""One run of a model and date: though the clock jumps, between nights and while one runs, and though two installations share a store."""

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
import sqlalchemy as sa

from nightgate import plain, stages
from nightgate.errors import ModelBusy, NotNeeded
from nightgate.nights import night
from nightgate.records import RunRecord, history
from nightgate.runs import hold, holder_of
from nightgate.schedules import missed
from nightgate.settings import Settings
from tests.projects import copied, project
from tests.test_schedules import NIGHTLY, at, ran

DUE = datetime(2026, 6, 10, 2, tzinfo=UTC)
DAY = timedelta(days=1)


class Clock(datetime):
    """The clock on the wall, as a test sets it."""

    moment = DUE

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Clock":
        moment = cls.moment.astimezone(tz)
        return cls.combine(moment.date(), moment.timetz())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("nightgate.nights.datetime", Clock)
    return project(tmp_path)


def scheduled(place: Settings, *, due: datetime, begins: datetime, ends: datetime) -> RunRecord:
    """Run a night that the schedule started, with the clock set when it begins and again before it ends."""
    Clock.moment = begins
    with night(place, "credit", run_id=str(uuid.uuid4()), scheduled=due) as tonight:
        decision = plain.decided(tonight, threads=1)
        Clock.moment = ends
        return stages.conclude(tonight, decision)


@pytest.mark.parametrize("jump", [-DAY, -timedelta(minutes=5), 2 * DAY], ids=str)
def test_a_jump_in_mid_run_makes_no_negative_time_and_no_second_run(jump: timedelta, place: Settings) -> None:
    record = scheduled(place, due=DUE, begins=DUE, ends=DUE + jump)

    with pytest.raises(NotNeeded):
        scheduled(place, due=DUE, begins=DUE + jump, ends=DUE + jump)

    assert record.verdict == "promoted" and [each.as_of for each in history(place.store, "credit")] == ["2026-06-10"]
    assert record.finished >= record.started and record.lag == 0
    assert 0 <= record.cost["wall_seconds"] < timedelta(hours=1).total_seconds() and min(record.seconds.values()) >= 0


def test_a_jump_between_nights_makes_one_run_a_date(place: Settings) -> None:
    ahead = scheduled(place, due=DUE + 30 * DAY, begins=DUE + 30 * DAY, ends=DUE + 30 * DAY)
    back = scheduled(place, due=DUE, begins=DUE - timedelta(minutes=3), ends=DUE)
    with pytest.raises(NotNeeded, match="has its run already: 1"):
        scheduled(place, due=DUE + 30 * DAY, begins=DUE + 30 * DAY, ends=DUE + 30 * DAY)

    assert (ahead.as_of, back.as_of, back.lag) == ("2026-07-10", "2026-06-10", 0)
    assert back.verdict in ("promoted", "kept") and back.run == 2


def test_a_night_of_the_future_keeps_none_from_being_caught_up(tmp_path: Path) -> None:
    assert missed(ran(tmp_path, 10, 29), "credit", NIGHTLY, at(13, 9)) == [at(13)]
    assert missed(ran(tmp_path / "only ahead", 29), "credit", NIGHTLY, at(13, 9)) == []


@pytest.mark.parametrize("jump", [-DAY, DAY], ids=str)
def test_no_jump_leaves_a_lock_for_ever(jump: timedelta, tmp_path: Path) -> None:
    """The lease is of another machine, of which nothing but its age is known."""
    registry = f"sqlite:///{tmp_path / 'registry.db'}"
    assert holder_of(registry, "credit") is None
    engine = sa.create_engine(registry)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO nightgate_leases VALUES ('credit', 7, 'theirs', 'another|1|1', "
                                   "(julianday('now') - 2440587.5) * 86400.0)"))
    with pytest.raises(ModelBusy), hold(registry, "credit", holder_id="ours"):
        pass
    with engine.begin() as connection:  # they wrote by a clock that has jumped since
        connection.execute(sa.text("UPDATE nightgate_leases SET renewed = renewed - :jump"), {"jump": jump.total_seconds()})

    with hold(registry, "credit", holder_id="ours"):
        assert holder_of(registry, "credit") == (None, "ours")


def test_two_installations_on_one_store_make_one_run_a_date(place: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each has its own server, which knows nothing of the other's; store and registry are of both."""
    other = replace(copied(place.root, tmp_path_factory.mktemp("other") / "project"), store_url=place.store_url, registry=place.registry)
    Clock.moment = DUE
    with night(place, "credit", run_id="one", scheduled=DUE), pytest.raises(ModelBusy, match=r"Run 1 \(one\) holds credit"):
        scheduled(other, due=DUE, begins=DUE, ends=DUE)
    first = scheduled(place, due=DUE, begins=DUE, ends=DUE)
    with pytest.raises(NotNeeded, match="has its run already"):
        scheduled(other, due=DUE, begins=DUE, ends=DUE)
    second = scheduled(other, due=DUE + DAY, begins=DUE + DAY, ends=DUE + DAY)

    assert [each.run for each in history(place.store, "credit")] == [first.run, second.run]
    assert second.champion_before == first.run, "what one promotes the other compares with"


def test_the_date_of_a_night_is_that_of_its_schedule_not_of_the_clock(place: Settings) -> None:
    record = scheduled(place, due=DUE, begins=DUE + timedelta(hours=20), ends=DUE + timedelta(hours=20))

    assert record.as_of == str(date(2026, 6, 10)) and record.lag == timedelta(hours=20).total_seconds()
