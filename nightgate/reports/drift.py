"""What a comparison found, as a document: the verdict, the causes with their distributions, every column against its limit."""

import numpy as np

from nightgate.drift.distances import aligned
from nightgate.drift.policy import ColumnDrift, TableDrift
from nightgate.drift.profile import Profile
from nightgate.drift.reference import FEWEST_VALUES, FEWEST_WINDOWS, Reference
from nightgate.drift.sketches import Axis, Categories, Numbers, values_of
from nightgate.reports.document import Bars, Callout, Heading, Part, Plot, Series, Side, Table
from nightgate.wording import counted

CAUSES = 6
"""Columns whose distributions are drawn."""

BARS = 10
STEPS = 40
"""Bins of a drawn distribution."""


def verdict_of(found: TableDrift) -> Callout:
    """Return the sentence that matters."""
    undecided = sum(each.verdict == "undecided" for each in found.columns)
    told = [f"{counted(found.rows, 'row')}, {counted(len(found.columns), 'column')}, {found.watch} watched, {undecided} undecided."]
    if not found.calibrated:
        told.append(f"Uncalibrated: the reference has fewer than {FEWEST_WINDOWS} windows of time with {FEWEST_VALUES} rows or more, so "
                    "ordinary nights may differ more.")
    if undecided:
        told.append("Undecided columns have too few rows to tell, or differ too much from night to night, and are not shown as fine.")
    title = f"{counted(found.alarm, 'column')} raise{'s' if found.alarm == 1 else ''} an alarm" if found.alarm else \
        "nothing can be told" if undecided == len(found.columns) else "no alarm"
    return Callout(title, " ".join(told), "bad" if found.alarm else "neutral" if undecided or not found.calibrated else "good")


def table_of(found: TableDrift) -> Table:
    """Return every column, causes first."""
    rows = [[each.column, each.verdict, f"{each.distance:.3f}", f"{each.limit:.3f}", each.why] for each in found.ranked]
    return Table(["column", "verdict", "distance", "limit", "why"], rows, frozenset({"distance", "limit"}),
                 frozenset(number for number, row in enumerate(rows) if row[1] == "alarm"))


def distributions(found: TableDrift, reference: Reference, current: Profile) -> Side:
    """Return the distributions of the top causes, before and now."""
    causes = [each for each in found.ranked if each.verdict in ("alarm", "watch")][:CAUSES]
    drawn = [_drawn(each, reference, current) for each in causes]
    return Side([each for each in drawn if each is not None])


def parts_of(found: TableDrift, reference: Reference, current: Profile) -> list[Part]:
    """Return the parts of a report about one comparison."""
    pictures = distributions(found, reference, current)
    return [Heading(found.data), verdict_of(found), *([pictures] if pictures.parts else []), table_of(found)]


def _drawn(cause: ColumnDrift, reference: Reference, current: Profile) -> Plot | Bars | None:
    before, after = reference.profile.columns.get(cause.column), current.columns.get(cause.column)
    if isinstance(before, Numbers) and isinstance(after, Numbers) and before.known and after.known:
        return _curves(cause, before, after, reference.axes[cause.column])
    if isinstance(before, Categories) and isinstance(after, Categories) and before.known and after.known:
        return _changes(cause, before, after)
    return None


def _curves(cause: ColumnDrift, before: Numbers, after: Numbers, axis: Axis) -> Plot:
    values = values_of(axis)
    low, high = (float(values[np.searchsorted(before.cumulative[1:], share)]) for share in (0.005, 0.995))
    low, high = (low, high) if high > low else (low - abs(low) / 10 - 1, high + abs(high) / 10 + 1)
    margin = (high - low) / 4
    edges = np.linspace(low - margin, high + margin, STEPS + 1)
    series = []
    for name, sketch in (("reference", before), ("now", after)):
        shares = np.histogram(np.clip(values[sketch.bins], edges[0], edges[-1]), edges, weights=sketch.counts / sketch.known)[0]
        series.append(Series(name, [(float(x), float(y)) for x, y in zip((edges[:-1] + edges[1:]) / 2, shares, strict=True)]))
    return Plot(cause.column, cause.column, "share of the rows", series, cause.why)


def _changes(cause: ColumnDrift, before: Categories, after: Categories) -> Bars | None:
    names, first, second = aligned(before, after)
    if not names:
        return None
    change = second / second.sum() - first / first.sum()
    order = np.argsort(-np.abs(change), kind="stable")[:BARS]
    return Bars(f"{cause.column}: change of share", [names[place] for place in order], [float(change[place]) for place in order], cause.why)
