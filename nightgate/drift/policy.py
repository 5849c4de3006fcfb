"""The policy of drift: which change is an alarm. Quiet on ordinary nights, loud on real change.

Every column has its own share of one small chance of a false alarm, the larger the more it matters to the model, and its own
limit: what chance and the reference's own wobble allow, but never less than a change that matters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from nightgate.drift.distances import Score, aligned, chi_square_chance, gap, ks_limit, kuiper_limit, share_limit
from nightgate.drift.profile import Profile
from nightgate.drift.reference import FEWEST_WINDOWS, Reference, Wobble
from nightgate.drift.sketches import Categories, Numbers, Sketch

LEVEL = 0.005
"""Chance of a false alarm of a whole night, shared out among its columns: half of the one in a hundred that is promised."""

SHAPE, MISSING, NEW = 0.7, 0.15, 0.15
"""Shares of a column's level that its three tests take."""

SCALES = 2
"""Stretches that each column is looked at over, one night and seven: each takes half of the level."""

NUMBER_TESTS = 4
"""Tests of the shape of a column of numbers: each takes as much of its level."""

FLOOR, MINOR_FLOOR, MISSING_FLOOR, NEW_FLOOR = 0.05, 0.15, 0.02, 0.005
"""Distances below which a change does not matter, however significant; `MINOR_FLOOR` is of the columns that hardly matter."""

ONE_SIDED = 1.25
"""Kuiper's distance in those of Kolmogorov and Smirnov up to which values moved to one side."""

RANK_FLOOR, KUIPER_FLOOR, SPREAD_FLOOR = 0.035, 0.07, 0.045
"""The floors of the other tests of numbers. Normal values that move by an eighth of a deviation change KS by 0.05 and their mean rank
by 0.035; those that spread by 16 % change Kuiper by 0.07 and the distance of their ranks from the middle by 0.045."""

CARRIED = 0.8
"""Share of the importance that the columns which matter carry together."""

ALWAYS = 5
"""Columns that matter however little of the importance the first ones leave them."""

UNTOLD = 0.25
"""Distance that chance must not reach: with so few rows nothing can be told."""

UNREACHED = 1.0
"""Distance that no change exceeds: where chance and wobble allow as much, nothing can be told either."""

PREDICTION = "(prediction)"
"""The prediction as one more column; it matters as much as the column that matters most."""

PERFORMANCE = "(performance)"
"""The realised metric beside the columns: an alarm when it is worse than what was promised."""

VERDICTS = ("alarm", "undecided", "watch", "quiet")


@dataclass(frozen=True)
class ColumnDrift:
    """One column: `distance` against the `limit` above which it is an alarm, of the test that is nearest to it."""

    column: str
    verdict: str
    distance: float
    limit: float
    why: str
    weight: float = 0.0

    @property
    def strength(self) -> float:
        """How much a cause counts: its importance times how far it is beyond its limit."""
        return self.weight * self.distance / self.limit if self.limit else self.weight


@dataclass(frozen=True)
class TableDrift:
    """What a comparison found; `alarm` and `watch` count columns. `calibrated`: the reference's wobble is known."""

    data: str
    rows: int
    calibrated: bool
    columns: Sequence[ColumnDrift]

    @property
    def alarm(self) -> int:
        return sum(each.verdict == "alarm" for each in self.columns)

    @property
    def watch(self) -> int:
        return sum(each.verdict == "watch" for each in self.columns)

    @property
    def ranked(self) -> list[ColumnDrift]:
        """The columns, causes first."""
        return sorted(self.columns, key=lambda each: (VERDICTS.index(each.verdict), -each.strength, each.column))

    def as_json(self) -> dict[str, Any]:
        columns = {each.column: {"distance": each.distance, "limit": each.limit, "verdict": each.verdict, "why": each.why}
                   for each in self.columns}
        return {"data": self.data, "alarm": self.alarm, "watch": self.watch, "calibrated": self.calibrated, "rows": self.rows,
                "columns": columns}


@dataclass(frozen=True)
class _Test:
    """One test of a column. `usual`: what chance and wobble allow; `significant` where another test says so."""

    distance: float
    usual: float
    floor: float
    why: str
    untold: bool = False
    significant: bool = False

    @property
    def limit(self) -> float:
        return max(self.usual, self.floor)

    @property
    def verdict(self) -> str:
        if self.distance > self.limit:
            return "alarm"
        if self.untold or self.usual >= UNREACHED:
            return "undecided"
        return "watch" if self.distance > self.usual or self.significant else "quiet"


@dataclass(frozen=True)
class Column:
    """What is known of a column before it is looked at. `rows` are worth as many as both samples together."""

    name: str
    level: float
    minor: bool
    wobble: Wobble
    windows: int

    def usual(self, measure: str, chance: float, level: float) -> float:
        """Return what chance and wobble allow together: both are as good as normal, so their squares add up."""
        if self.wobble.windows < FEWEST_WINDOWS:
            return chance
        deviation = self.wobble.of(measure, self.windows) * float(np.sqrt(1 + 1 / self.wobble.windows))
        return float(np.hypot(chance, float(-stdtrit(self.wobble.windows - 1, level / 2)) * deviation))


def compare(reference: Reference, current: Profile, *, data: str, windows: int = 1) -> TableDrift:
    """Compare a table's profile with the reference. `windows`: how many of the reference's windows it is long."""
    weights = weights_of(reference)
    major = _major(weights)
    columns = []
    for name, weight in weights.items():
        before, after = reference.profile.columns.get(name), current.columns.get(name)
        if before is None or after is None:
            columns.append(_absent(name, weight, current.rows) if after is None else
                           ColumnDrift(name, "watch", 0.0, 0.0, "the column is new", weight))
            continue
        column = Column(name, LEVEL / SCALES * (0.5 * weight + 0.5 / len(weights)), name not in major,
                        reference.wobble.get(name, Wobble(0)), windows)
        columns.append(judged(column, before, after, weight))
    columns += [ColumnDrift(name, "watch", 0.0, 0.0, "the column is new") for name in current.columns if name not in weights]
    return TableDrift(data, current.rows, reference.calibrated, columns)


def worse_of(one: TableDrift, other: TableDrift) -> TableDrift:
    """Return of each column the worse verdict of two comparisons; where one of them could not tell, the other one's."""
    order = ("alarm", "watch", "quiet", "undecided")
    others = {each.column: each for each in other.columns}
    pairs = [(each, others.get(each.column, each)) for each in one.columns]
    return replace(one, columns=[min(pair, key=lambda each: order.index(each.verdict)) for pair in pairs])


def weights_of(reference: Reference) -> dict[str, float]:
    """Return each reference column's share of the importance; equal shares where none is known."""
    names = list(reference.profile.columns)
    given = {name: max(0.0, reference.importances.get(name, 0.0)) for name in names}
    if not any(given.values()):
        return dict.fromkeys(names, 1 / max(len(names), 1))
    if PREDICTION in given:
        given[PREDICTION] = max(given.values())
    return {name: weight / sum(given.values()) for name, weight in given.items()}


def _major(weights: Mapping[str, float]) -> set[str]:
    """Return the columns that carry `CARRIED` of the importance, with their equals, and the first few in any case."""
    order = sorted((name for name in weights if weights[name] > 0), key=lambda name: -weights[name])
    before = np.cumsum([0.0, *(weights[name] for name in order)])
    first = [name for place, name in enumerate(order) if place < ALWAYS or before[place] < CARRIED - 1e-9]
    return {name for name in order if weights[name] >= weights[first[-1]] - 1e-12} if first else set()


def _absent(name: str, weight: float, rows: int) -> ColumnDrift:
    if rows and name == PREDICTION:
        return ColumnDrift(name, "undecided", 0.0, 0.0, "no prediction could be made of these rows", weight)
    if rows:
        return ColumnDrift(name, "alarm", 1.0, 0.0, "the column is gone", weight)
    return ColumnDrift(name, "undecided", 0.0, 0.0, "there are no rows", weight)


def judged(column: Column, before: Sketch, after: Sketch, weight: float) -> ColumnDrift:
    """Return a column's verdict: that of its worst test, and among equals of the one nearest to its limit."""
    if after.known + after.missing == 0:
        return ColumnDrift(column.name, "undecided", 0.0, 0.0, "there are no rows", weight)
    if type(before) is not type(after) and after.known and before.known:
        kinds = ("numbers", "texts") if isinstance(before, Numbers) else ("texts", "numbers")
        return ColumnDrift(column.name, "alarm", 1.0, 0.0, f"it held {kinds[0]}, now {kinds[1]}", weight)
    tests = [_missing(column, before, after), *_shapes(column, before, after)]
    worst = min(tests, key=lambda test: (VERDICTS.index(test.verdict), -test.distance / test.limit))
    return ColumnDrift(column.name, worst.verdict, worst.distance, worst.limit, worst.why, weight)


def _missing(column: Column, before: Sketch, after: Sketch) -> _Test:
    first, second = before.known + before.missing, after.known + after.missing
    was, now = before.missing / max(first, 1), after.missing / second
    level, rows = MISSING * column.level / 2, _worth(first, second)
    pooled = (before.missing + after.missing + 1) / (first + second + 2)
    chance = share_limit(level, pooled, rows) if rows else 1.0
    return _Test(abs(now - was), column.usual("missing", chance, level), MISSING_FLOOR, f"missing in {now:.1%}, before {was:.1%}")


def _shapes(column: Column, before: Sketch, after: Sketch) -> Iterator[_Test]:
    if before.known == 0 or after.known == 0:
        yield _Test(0.0, 0.0, 1.0, "no values to compare", untold=after.known != before.known)
    elif isinstance(before, Numbers) and isinstance(after, Numbers):
        yield from _numbers(column, before, after)
    elif isinstance(before, Categories) and isinstance(after, Categories):
        yield from _categories(column, before, after)


def _numbers(column: Column, before: Numbers, after: Numbers) -> Iterator[_Test]:
    found, rows, level = gap(before, after), _worth(before.known, after.known), SHAPE * column.level / NUMBER_TESTS
    chance, scale = ks_limit(level, rows), MINOR_FLOOR / FLOOR if column.minor else 1.0
    infinite = f"; {after.infinite:,} are infinite" if after.infinite else ""
    way = "up" if found.upward else "down"
    where = f" {way}" if found.kuiper < ONE_SIDED * found.ks else ", to both sides or to the middle"
    up, wider = found.rank.change > 0, found.spread.change > 0
    yield _Test(found.ks, column.usual("ks", chance, level), FLOOR * scale,
                f"{found.ks:.1%} of the values moved {way}{infinite}", chance > UNTOLD)
    yield _Test(found.kuiper, column.usual("kuiper", kuiper_limit(level, rows), level), KUIPER_FLOOR * scale,
                f"{found.kuiper:.1%} of the values moved{where}{infinite}")
    if chance > UNTOLD:  # ranks are as good as normal only in more rows
        return
    yield _Test(abs(found.rank.change), column.usual("rank", _likely(found.rank, level, rows), level), RANK_FLOOR * scale,
                f"the values moved {'up' if up else 'down'}: their mean rank is {0.5 + found.rank.change:.1%}, before 50.0%{infinite}")
    yield _Test(abs(found.spread.change), column.usual("spread", _likely(found.spread, level, rows), level), SPREAD_FLOOR * scale,
                f"the values {'spread' if wider else 'drew together'}: their ranks lie {abs(found.spread.change):.1%} "
                f"{'farther from' if wider else 'nearer to'} the middle{infinite}")


def _likely(score: Score, level: float, rows: float) -> float:
    """Return the change of a mean score that chance exceeds with probability `level`."""
    return float(-ndtri(level / 2)) * score.deviation / float(np.sqrt(rows))


def _categories(column: Column, before: Categories, after: Categories) -> Iterator[_Test]:
    names, first, second = aligned(before, after)
    was, now = first / first.sum(), second / second.sum()
    worst, rows, level = int(np.abs(now - was).argmax()), _worth(before.known, after.known), SHAPE * column.level
    of_each = level / (2 * len(was))
    widest = float(was[np.abs(was - 0.5).argmin()])
    chance = share_limit(of_each, widest, rows)
    told = f"`{names[worst]}`" if names else f"one of {len(was):,} groups of values"
    yield _Test(float(abs(now[worst] - was[worst])), column.usual("share", chance, of_each), MINOR_FLOOR if column.minor else FLOOR,
                f"{told} is {now[worst]:.1%} of the rows, before {was[worst]:.1%}", chance > UNTOLD,
                significant=len(was) > 1 and column.wobble.windows == 0 and chi_square_chance(first, second) < level)
    yield _new(column, names, first, second)


def _new(column: Column, names: Sequence[str], first: np.ndarray[Any, np.dtype[np.float64]],
         second: np.ndarray[Any, np.dtype[np.float64]]) -> _Test:
    """Return the test of values never seen before, against the share that Good and Turing expect: that of the values seen once."""
    new = np.flatnonzero((first == 0) & (second > 0))
    share, expected = float(second[new].sum() / second.sum()), float((first == 1).sum() / first.sum())
    pooled = (float((first == 1).sum()) + 1) / (first.sum() + 1)
    chance = share_limit(NEW * column.level, min(pooled, 0.5), _worth(first.sum(), second.sum()))
    most = int(new[second[new].argmax()]) if len(new) else -1
    told = f"{share:.1%} of the rows have values never seen before" + (f", most `{names[most]}`" if names and len(new) else "")
    return _Test(max(0.0, share - expected), chance, NEW_FLOOR, told)


def _worth(first: float, second: float) -> float:
    return first * second / (first + second) if first and second else 0.0
