"""When a model's nights are due, which of them still need a run, and which stretch of event time a run sees."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nightgate.definition.model import Definition, Schedule
from nightgate.errors import NotNeeded
from nightgate.records import history
from nightgate.store import Store

ON_TIME = timedelta(hours=1)
"""How late a night may begin and is not missed yet: other models ran before it."""

MOST_CAUGHT_UP = 31
"""Missed nights that are caught up at most, the newest ones."""


def night_of(schedule: Schedule, moment: datetime) -> date:
    """Return the night that a scheduled moment stands for: its date where the model lives."""
    return moment.astimezone(ZoneInfo(schedule.timezone)).date()


def due(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the moments in `(after, until]` at which a night is due, each date once whatever the clocks do."""
    from croniter import croniter

    start = after.astimezone(ZoneInfo(schedule.timezone))
    seen = croniter(schedule.cron, start + timedelta(microseconds=1)).get_prev(datetime).date()
    moments = croniter(schedule.cron, start)
    while (moment := moments.get_next(datetime)) <= until:
        if moment.date() != seen:
            yield moment
        seen = moment.date()


def demand(store: Store, model: str, schedule: Schedule, scheduled: datetime, now: datetime) -> None:
    """Raise NotNeeded for a scheduled night that has its run, or that was missed and shall not be caught up."""
    night = night_of(schedule, scheduled)
    done = next((record for record in reversed(history(store, model)) if record.as_of == str(night) and record.scheduled
                 and record.verdict != "failed"), None)
    if done is not None:
        raise NotNeeded(f"The night of {night} has its run already: {done.run}, {done.verdict}.")
    late = now - scheduled
    if schedule.missed == "skip" and late > ON_TIME:
        raise NotNeeded(f"The night of {night} was missed by {late} and is left out, as `schedule.missed` says.")
    if schedule.missed == "latest" and (newer := next(due(schedule, scheduled, now), None)) is not None:
        raise NotNeeded(f"The night of {night} was missed; that of {night_of(schedule, newer)} runs in its place.")


def missed(store: Store, model: str, schedule: Schedule, now: datetime) -> list[datetime]:
    """Return the moments of nights that were due since the last one that ran, and that shall be caught up; none before a first.

    A night of the future, which a clock that ran ahead has left, is none that ran.
    """
    nights = [night for record in history(store, model) if record.scheduled and record.verdict != "failed"
              and (night := date.fromisoformat(record.as_of)) <= night_of(schedule, now)]
    if not nights or schedule.missed == "skip":
        return []
    zone = ZoneInfo(schedule.timezone)
    since = datetime.combine(max(nights) + timedelta(days=1), datetime.min.time(), zone) - timedelta(microseconds=1)
    found = list(due(schedule, since, now))
    return found[-1:] if schedule.missed == "latest" else found[-MOST_CAUGHT_UP:]


@dataclass(frozen=True)
class Window:
    """`[start, end)` in the model's time zone, without it."""

    start: datetime | None
    end: datetime


def window_of(definition: Definition, as_of: date) -> Window:
    """Return the window that ends at the as-of date, 00:00."""
    end = datetime.combine(as_of, time())
    days = definition.window.days
    return Window(None if days is None else end - timedelta(days=days), end)


def today(definition: Definition) -> date:
    """Return the date where the model lives."""
    return datetime.now(ZoneInfo(definition.schedule.timezone)).date()
