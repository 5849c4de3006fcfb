"""Freshness: how old the newest row may be when a night begins, from how old it was before earlier nights."""

import math
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightgate.contracts.writing import Expectation, expect

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
STALE = 2
"""Days without a row after which a file is taken for an archive, of which freshness cannot be asked."""

FEWEST = 20
"""Nights from which the oldest newest row says how old it gets."""


BUDGET = 0.25
"""Share of the owner's budget of false stops that nights without new rows, which happened, may use."""

FIRST = 0.001
"""Share of the rows before which a source is taken not to have begun: a few come from a clock that was wrong."""


def freshness(name: str, times: pa.ChunkedArray, as_of: date, *, nightly: float) -> Iterator[Expectation]:
    """Yield that the newest event is hardly older than it usually was at 00:00; `times` are naive, in the model's time zone.

    `nightly`: the chance of a false stop that a night may have. Older than its nights allow the newest row was on so few of them that
    their share of it is kept. Nothing is yielded for an archive: where the newest row is older than `STALE` days at the as-of date.
    """
    known = np.sort(pc.cast(times.drop_null(), pa.timestamp("us")).to_numpy())
    night = np.datetime64(as_of, "us")
    known = known[known < night]
    if len(known) < 2 or night - known[-1] > STALE * DAY:
        return
    nights = np.arange(night, known[int(FIRST * len(known))], -DAY)
    ages = np.sort(nights - known[np.searchsorted(known, nights) - 1])
    beyond = max(int(BUDGET * nightly * (len(ages) + 1)) - 1, 0)
    oldest = float(ages[len(ages) - 1 - beyond] / HOUR)
    hours = math.ceil(oldest * (1.25 if len(nights) >= FEWEST else 2.0)) + 1
    yield _at_most(name, hours, oldest, len(nights) - beyond)


def freshness_of(name: str, ages: Sequence[float], tolerated: float) -> Expectation:
    """Return the rule for a source whose newest row was `ages` hours old when its nights began; `tolerated` is what these allow."""
    return _at_most(name, math.ceil(max(tolerated, 1.25 * max(ages))) + 1, max(ages), len(ages))


def _at_most(name: str, hours: int, oldest: float, nights: int) -> Expectation:
    return expect("expect_column_max_to_be_between", {"column": name, "min_value": {"$PARAMETER": f"now() - timedelta(hours={hours})"}},
                  f"At 00:00 of {nights:,} nights the newest row was at most {oldest:.1f} hours old.",
                  oldest_hours=round(oldest, 2), nights=nights)
