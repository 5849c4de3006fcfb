"""The reference of drift: what a model was trained on, counted, and by how much its own nights differ from the whole."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from nightgate.drift.distances import KS_MEAN_SQUARE, KUIPER_MEAN_SQUARE, aligned, gap, largest_share_mean_square
from nightgate.drift.profile import NO_TIME, Every, Profile, Source, as_json, axes_of, scan, sketch_from, total
from nightgate.drift.sketches import Axis, Categories, Numbers, Sketch
from nightgate.errors import DataUnusable

LAYOUT = 1
LARGEST = 1 << 20
"""Bytes of a reference on disk."""

FEWEST_WINDOWS = 8
"""Windows from which their wobble is known well enough to be used."""

MOST_WINDOWS = 91
"""Windows that are looked at, the newest ones: a quarter of a year."""

FEWEST_VALUES = 50
"""Known values of a window from which its distance says anything."""

WEEK = 7

LARGER = {"rank": "ks", "spread": "kuiper"}
"""Of measures that older references lack: one whose distances are never smaller."""


@dataclass(frozen=True)
class Wobble:
    """How far a column's windows are from the whole beyond what chance makes: standard deviations by measure, of single windows
    and of `WEEK` together."""

    windows: int
    single: Mapping[str, float] = field(default_factory=dict)
    week: Mapping[str, float] = field(default_factory=dict)

    def of(self, measure: str, windows: int) -> float:
        """Return the standard deviation of so many windows together: independent ones average out, at best."""
        known = measure if measure in self.single else LARGER.get(measure, measure)
        alone = self.single.get(known, 0.0)
        return alone if windows == 1 else max(alone / float(np.sqrt(windows)), self.week.get(known, 0.0))


@dataclass(frozen=True)
class Reference:
    """What is compared with: axes, counts, wobble, and how much each column matters (0 or less: not at all)."""

    axes: Mapping[str, Axis]
    profile: Profile
    wobble: Mapping[str, Wobble]
    importances: Mapping[str, float] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        return any(each.windows >= FEWEST_WINDOWS for each in self.wobble.values())

    def to_bytes(self) -> bytes:
        """Return it packed; the same reference gives the same bytes."""
        columns = {name: as_json(each) for name, each in self.profile.columns.items()}
        return packed({"layout": LAYOUT, "axes": {name: asdict(each) for name, each in self.axes.items()},
                       "profile": {"rows": self.profile.rows, "columns": columns},
                       "wobble": {name: asdict(each) for name, each in self.wobble.items()}, "importances": dict(self.importances)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "Reference":
        """Raises DataUnusable for a profile of another layout, or one that is not whole."""
        try:
            value = json.loads(gzip.decompress(content))
            layout = value["layout"]
            if layout == LAYOUT:
                columns = {name: sketch_from(each) for name, each in value["profile"]["columns"].items()}
                return cls({name: Axis(**axis) for name, axis in value["axes"].items()}, Profile(value["profile"]["rows"], columns),
                           {name: Wobble(**each) for name, each in value["wobble"].items()}, value["importances"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataUnusable(f"The reference profile is not whole: {type(error).__name__}.", remedy=REMEDY) from None
        raise DataUnusable(f"The reference profile has layout {layout}; this version reads {LAYOUT}.", remedy=REMEDY)


REMEDY = "Run the model again: the next release has a new profile."


def packed(value: Mapping[str, Any]) -> bytes:
    return gzip.compress(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), compresslevel=6, mtime=0)


def learn(source: Source, *, time: str | None = None, every: Every = "day", leave_out: Iterable[str] = (),
          importances: Mapping[str, float] | None = None) -> Reference:
    """Return the reference of a table: its profile, and its wobble where it has a time. Raises DataUnusable."""
    hidden = {*leave_out, *([time] if time else [])}
    axes = axes_of(source, leave_out=hidden)
    windows = scan(source, axes, time=time, every=every, leave_out=hidden)
    whole = total(windows.values())
    timed = [] if time is None else [each for number, each in windows.items() if number != NO_TIME]
    return Reference(axes, whole, wobbles(whole, timed), dict(importances or {}))


def wobbles(whole: Profile, windows: Sequence[Profile]) -> dict[str, Wobble]:
    """Return the wobble of each column over consecutive windows, the newest `MOST_WINDOWS`."""
    kept = windows[-MOST_WINDOWS:]
    starts = range(len(kept) % WEEK, len(kept) + 1, WEEK)
    weeks = [total(kept[start:end]) for start, end in pairwise(starts)]
    return {name: _wobble(name, sketch, whole, kept, weeks) for name, sketch in whole.columns.items()}


def _wobble(name: str, whole: Sketch, table: Profile, windows: Sequence[Profile], weeks: Sequence[Profile]) -> Wobble:
    singles = [each.columns[name] for each in windows if name in each.columns and each.columns[name].known >= FEWEST_VALUES]
    weekly = [each.columns[name] for each in weeks if name in each.columns and each.columns[name].known >= FEWEST_VALUES]
    return Wobble(len(singles), _deviations(whole, singles), _deviations(whole, weekly))


def _deviations(whole: Sketch, parts: Sequence[Sketch]) -> dict[str, float]:
    """Return by measure the standard deviation of parts around the whole beyond that of chance."""
    if len(parts) < 2:
        return {}
    excess: dict[str, list[float]] = {}
    for part in parts:
        for measure, square in excess_of(whole, part).items():
            excess.setdefault(measure, []).append(square)
    # the whole lies among its parts: one of them is not free
    return {measure: float(np.sqrt(max(0.0, sum(squares) / (len(squares) - 1)))) for measure, squares in excess.items()}


def excess_of(whole: Sketch, part: Sketch) -> dict[str, float]:
    """Return a part's squared distances from the whole it belongs to, less what chance makes of it."""
    if isinstance(whole, Numbers) and isinstance(part, Numbers):
        found, alone = gap(whole, part), 1 / part.known - 1 / whole.known
        squares = {"ks": found.ks**2 - KS_MEAN_SQUARE * alone, "kuiper": found.kuiper**2 - KUIPER_MEAN_SQUARE * alone,
                   "rank": found.rank.change**2 - found.rank.deviation**2 * alone,
                   "spread": found.spread.change**2 - found.spread.deviation**2 * alone}
    elif isinstance(whole, Categories) and isinstance(part, Categories):
        _, first, second = aligned(whole, part)
        change = float(np.abs(second / second.sum() - first / first.sum()).max())
        squares = {"share": change**2 - largest_share_mean_square(first, part.known)}
    else:
        squares = {}
    rows, all_rows = part.known + part.missing, whole.known + whole.missing
    share = whole.missing / all_rows
    chance = share * (1 - share) * (1 / rows - 1 / all_rows)
    return {**squares, "missing": (part.missing / rows - share) ** 2 - chance}
