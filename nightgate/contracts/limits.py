"""Limits that clean nights keep: what chance may show in the smallest night, exactly, whatever the distribution.

All follow from one thought: a clean night and the rows that the contract was learnt from are drawn alike, so the order in
which their values mix is a matter of chance alone. What nights differ by beyond that is learnt from many of them (`tolerated`).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SMALLEST_NIGHT = 500
"""Rows of a night that must pass when nothing is wrong, where one file is all that is known."""

A_COLUMN = 9
"""Limits of a column at most: what is missing, two bounds of its values, six of where they lie."""

BY_CHANCE = 0.1
"""Share of the budget of false stops for what chance alone does; the rest is for what nights differ by beyond that."""

NEVER = 1e-3
"""The highest level where something was not seen at all: most of such things never come, and are worth being stopped for."""

NEW = 0.01
"""Weight of values that were not seen, together, in a distribution."""


@dataclass(frozen=True)
class Limits:
    """`level`: the chance of each limit to be passed by a clean night of `smallest` rows, or of four fifths of those known."""

    level: float
    smallest: int = SMALLEST_NIGHT

    @classmethod
    def within(cls, nightly: float, columns: int, smallest: int = SMALLEST_NIGHT) -> "Limits":
        """Share a budget of false stops a night among all limits of so many columns (Bonferroni)."""
        return cls(BY_CHANCE * nightly / (A_COLUMN * max(columns, 1)), smallest)

    def night_of(self, rows: int) -> int:
        return min(self.smallest, max(rows * 4 // 5, 1))

    def most(self, count: int, rows: int, floor: float, *, expected: bool = False) -> float:
        """Return the largest share that what was seen in `count` of `rows` rows may have in a clean night, at least `floor` more.

        The limit is that of the exact conditional test of two shares: hypergeometric, as Fisher's. What was not seen need never come,
        and has a higher level, unless it is `expected`: a value just outside the range is.
        """
        level = self.level if count or expected else min(100 * self.level, NEVER)
        return min(max(_most(count, rows, self.night_of(rows), level), count / rows + floor), 1.0)

    def ranks(self, rows: int, quantile: float) -> tuple[int | None, int | None]:
        """Return between which of the sorted `rows` values (from 0) a clean night's quantile lies; None where these do not reach."""
        night = self.night_of(rows)
        rank = round((night - 1) * quantile)
        under, over = _lowest(rank, rows, night, self.level), _lowest(night - 1 - rank, rows, night, self.level)
        return under, None if over is None else rows - 1 - over

    def farthest(self, values: int, rows: int) -> float:
        """Return the largest Kullback-Leibler distance of a clean night's shares of so many values from those that were seen.

        Twice the rows times the distance follow a chi-squared distribution (Wilks); a fifth is added for rare values, of which that
        is less true, and `NEW` for values that were not seen. The floor is what a tenth more of the rows in one half makes.
        """
        from scipy.stats import chi2

        chance = 1.2 * float(chi2.isf(self.level, max(values - 1, 1))) * (1 / self.night_of(rows) + 1 / rows) / 2
        return round(max(chance, 0.02) + NEW, 3)

    def certain(self, count: int, rows: int) -> bool:
        """Return whether what was not so in `count` of `rows` rows is not so in at least one row of every clean night."""
        return count > 0 and self.night_of(rows) * math.log1p(-min(_most_likely(count, rows), 1 - 1e-12)) < math.log(self.level)

    def tolerated(self, seen: Sequence[float]) -> tuple[float, float]:
        """Return between which values the next night's figure lies, from those of earlier nights, were they drawn from one normal
        distribution: mean and `t·s·√(1 + 1/n)` on either side, t of n − 1 degrees at half the level on each (Hahn and Meeker,
        Statistical Intervals, 1991); never inside what was seen. Without a second night nothing is known.
        """
        import numpy as np
        from scipy.stats import t

        count = len(seen)
        if count < 2:
            return -math.inf, math.inf
        reach = float(t.isf(self.level / 2, count - 1)) * float(np.std(seen, ddof=1)) * math.sqrt(1 + 1 / count)
        return min(float(np.mean(seen)) - reach, *seen), max(float(np.mean(seen)) + reach, *seen)


@lru_cache(maxsize=10_000)
def _most(count: int, rows: int, night: int, level: float) -> float:
    import numpy as np
    from scipy.stats import hypergeom

    beyond = np.arange(1, night + 1)
    rare = hypergeom.sf(beyond - 1, rows + night, count + beyond, night) < level
    return (int(beyond[rare][0]) - 1) / night if rare.any() else 1.0


@lru_cache(maxsize=10_000)
def _lowest(at: int, rows: int, night: int, level: float) -> int | None:
    """Return the largest j such that more than `at` of a night's values hardly ever lie below the j-th of the `rows` known.

    They do when more than `at` of the first `at + j + 1` of all values in order are the night's: hypergeometric.
    """
    from scipy.stats import hypergeom

    rare = bisect_left(range(rows), level, key=lambda j: hypergeom.sf(at, rows + night, night, at + j + 1))
    return rare - 1 if rare else None


def _most_likely(count: int, rows: int) -> float:
    """Return a share that is hardly ever less than the true one was: three standard deviations below what was seen."""
    share = count / rows
    return max(share - 3 * math.sqrt(share * (1 - share) / rows), 0.0)
