"""The window of a run: which stretch of event time it sees."""

from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from nightgate.definition.model import Definition


@dataclass(frozen=True)
class Window:
    """`[start, end)` in the model's time zone, without it."""

    start: datetime | None
    end: datetime


def window_of(definition: Definition, as_of: date) -> Window:
    """Return the window that ends at the as-of date, 00:00."""
    end = datetime.combine(as_of, time())
    length = definition.window_length
    return Window(None if length is None else end - length, end)


def today(definition: Definition) -> date:
    """Return the date where the model lives."""
    return datetime.now(ZoneInfo(definition.schedule.timezone)).date()
