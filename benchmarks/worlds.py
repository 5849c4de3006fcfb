"""Simulated nights whose truth is known: columns over normal latents that wobble from night to night, drift on demand.

Twelve columns of numbers and four of five categories; importances fall by 0.7 from one to the next. `wobble` moves each column's
latent by so many standard deviations each night; `correlated` columns share seven tenths of their rows and the nights' moves;
`weekly` adds a cycle. From `BY_COUNTS` rows on a night's counts are drawn instead of its rows: the same distribution, exactly.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from nightgate.drift.profile import Profile, total
from nightgate.drift.reference import Reference, wobbles
from nightgate.drift.sketches import BINS, Axis, Categories, Numbers, Sketch, count

NUMBERS, CATEGORIES = 12, 4
NAMES = [f"{'c' if place % 4 == 3 else 'n'}{place:02}" for place in range(NUMBERS + CATEGORIES)]
IMPORTANCES = {name: 0.7**place for place, name in enumerate(NAMES)}
LEVELS = np.array([-0.8, -0.2, 0.3, 0.9])
"""Where the latent is cut into categories."""

SHARED = 0.7
WEEKLY = 0.1
"""Standard deviations that the weekly cycle moves a latent up and down."""

BY_COUNTS = 100_000
AXIS = Axis("number", 0.0, 1.35)


@dataclass(frozen=True)
class Change:
    """What happens to a column: its latent is moved and scaled, rows are lost, a new category comes, or one grows."""

    column: str = ""
    shift: float = 0.0
    scale: float = 1.0
    missing: float = 0.0
    new: float = 0.0
    more: float = 0.0


@dataclass
class World:
    """Nights one after the other, from a seed."""

    seed: int
    rows: int
    wobble: float
    correlated: bool = False
    weekly: bool = False
    day: int = 0
    random: np.random.Generator = field(init=False)
    phases: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng([self.seed, self.rows, int(1_000 * self.wobble), self.correlated, self.weekly])
        self.phases = self.random.uniform(0, 7, len(NAMES))

    def night(self, change: Change = Change()) -> Profile:
        """Return the profile of the next night."""
        random, self.day = self.random, self.day + 1
        moves = self.wobble * (np.full(len(NAMES), random.normal()) if self.correlated else random.normal(size=len(NAMES)))
        if self.weekly:
            moves = moves + WEEKLY * np.sin(2 * np.pi * (self.day + (self.phases[0] if self.correlated else self.phases)) / 7)
        common = self._drawn(self.rows, moves[0], 1.0) if self.correlated else None
        columns = {}
        for name, move in zip(NAMES, moves, strict=True):
            own = change if change.column == name else Change()
            columns[name] = self._sketch(name, float(move) + own.shift, own, common)
        return Profile(self.rows, columns)

    def reference(self, nights: int) -> Reference:
        """Return the reference that so many nights make."""
        windows = [self.night() for _ in range(nights)]
        whole = total(windows)
        return Reference({}, whole, wobbles(whole, windows), IMPORTANCES)

    def _sketch(self, name: str, move: float, change: Change, common: NDArray[np.int64] | None) -> Sketch:
        lost = int(self.random.binomial(self.rows, change.missing))
        rows = self.rows - lost
        if common is None:
            counts = self._drawn(rows, move, change.scale)
        else:
            shared = self.random.binomial(common, SHARED * rows / self.rows) if change.scale == 1 and not change.shift else common * 0
            counts = shared + self._drawn(rows - int(shared.sum()), move, change.scale)
        if name.startswith("n"):
            bins = np.flatnonzero(counts)
            return Numbers(bins.astype(np.uint16), counts[bins], lost)
        return self._named(counts, rows, lost, change)

    def _named(self, counts: NDArray[np.int64], rows: int, lost: int, change: Change) -> Categories:
        places = np.searchsorted(LEVELS, CENTRES)
        levels = np.bincount(places, counts, len(LEVELS) + 1).astype(np.int64)
        fresh = self.random.binomial(levels, change.new)
        others = np.arange(len(levels)) != 2
        grown = self.random.binomial(levels * others, change.more / (levels[others].sum() / max(rows, 1)))
        levels = levels - fresh - grown
        levels[2] += grown.sum()
        names = {f"level {place}": int(rows) for place, rows in enumerate(levels) if rows}
        return Categories({**names, "new": int(fresh.sum())} if fresh.sum() else names, None, lost)

    def _drawn(self, rows: int, move: float, scale: float) -> NDArray[np.int64]:
        """Return the counts of a normal sample in every bin."""
        if rows < BY_COUNTS:
            sketch = count(pa.array(move + scale * self.random.normal(size=rows)), AXIS)
            assert isinstance(sketch, Numbers)
            dense = np.zeros(BINS, dtype=np.int64)
            dense[sketch.bins] = sketch.counts
            return dense
        shares = np.maximum(np.diff(ndtr((EDGES - move) / scale)), 0.0)  # its last bits are not monotone
        dense = np.zeros(BINS, dtype=np.int64)
        dense[PLACES] = self.random.multinomial(rows, shares / shares.sum())
        return dense


def _edges() -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the bins that a normal sample falls into, their edges, and the value in the middle of every bin."""
    raw = np.arange(BINS, dtype=np.uint32)
    ordered = np.where(raw < BINS // 2, BINS - 1 - raw, raw - BINS // 2).astype(np.uint32)  # which bits stand at each place
    with np.errstate(invalid="ignore"):
        low = (ordered << 16).view(np.float32).astype(float) * AXIS.scale  # towards zero
        values = ((ordered << 16) | 0x8000).view(np.float32).astype(float) * AXIS.scale
    inside = np.flatnonzero(np.abs(np.nan_to_num(values, nan=np.inf)) < 9)
    edges = np.array([low[place] for place in inside])
    negative = values[inside] < 0
    starts = np.where(negative, np.roll(edges, 1), edges)  # a negative bin begins where the one below it ends
    starts[0] = -np.inf
    first_positive = int(np.flatnonzero(~negative)[0])
    starts[first_positive] = 0.0
    return inside, np.append(starts, np.inf), np.nan_to_num(values, nan=0.0)


PLACES, EDGES, CENTRES = _edges()
