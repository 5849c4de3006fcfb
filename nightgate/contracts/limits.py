"""Limits that clean nights keep: what chance may show in the smallest night, exactly, whatever the distribution.

All follow from one thought: a clean night and the rows that the contract was learnt from are drawn alike, so the order in
which their values mix is a matter of chance alone. `LEVEL` is the chance of each limit to be passed by a clean night.
"""

import math
from functools import lru_cache

LEVEL = 1e-5
"""A contract of 300 limits, were they independent, stops 3 clean nights of the smallest size in a thousand, larger ones less."""

SMALLEST_NIGHT = 500
"""Rows of a night that must pass when nothing is wrong; four fifths of the rows that there are, where these are fewer."""

NEVER = 1e-3
"""The level where something was not seen at all: most of such things never come, and are worth being stopped for."""


def night_of(rows: int) -> int:
    return min(SMALLEST_NIGHT, max(rows * 4 // 5, 1))


@lru_cache(maxsize=10_000)
def most(count: int, rows: int, floor: float, level: float | None = None) -> float:
    """Return the largest share that what was seen in `count` of `rows` rows may have in a clean night, at least `floor` more.

    The limit is that of the exact conditional test of two shares: hypergeometric, as Fisher's.
    """
    import numpy as np
    from scipy.stats import hypergeom

    night = night_of(rows)
    beyond = np.arange(1, night + 1)
    rare = hypergeom.sf(beyond - 1, rows + night, count + beyond, night) < (level or (LEVEL if count else NEVER))
    limit = (int(beyond[rare][0]) - 1) / night if rare.any() else 1.0
    return min(max(limit, count / rows + floor), 1.0)


@lru_cache(maxsize=10_000)
def ranks(rows: int, quantile: float) -> tuple[int | None, int | None]:
    """Return between which of the sorted `rows` values (from 0) a clean night's quantile lies; None where these do not reach.

    More than r of a night's values lie below the value of rank j when more than r of the first r + j + 1 of all values in order
    are the night's: hypergeometric.
    """
    from scipy.stats import hypergeom

    night = night_of(rows)
    rank = round((night - 1) * quantile)

    def lowest(at: int) -> int | None:
        """Return the largest j such that more than `at` values of a night hardly ever lie below it."""
        low, high = -1, rows - 1
        while low < high:
            middle = (low + high + 1) // 2
            if hypergeom.sf(at, rows + night, night, at + middle + 1) < LEVEL:
                low = middle
            else:
                high = middle - 1
        return None if low < 0 else low

    under, over = lowest(rank), lowest(night - 1 - rank)
    return under, None if over is None else rows - 1 - over


@lru_cache(maxsize=10_000)
def farthest(values: int, rows: int) -> float:
    """Return the largest Kullback-Leibler distance of a clean night's shares of so many values from those that were seen.

    Twice the rows times the distance follow a chi-squared distribution (Wilks); a fifth is added for rare values, of which that
    is less true, and `NEW` for values that were not seen. The floor is what a tenth more of the rows in one half makes.
    """
    from scipy.stats import chi2

    night = night_of(rows)
    chance = 1.2 * float(chi2.isf(LEVEL, max(values - 1, 1))) * (1 / night + 1 / rows) / 2
    return round(max(chance, 0.02) + NEW, 3)


NEW = 0.01
"""Weight of values that were not seen, together, in a distribution."""


def certain(count: int, rows: int) -> bool:
    """Return whether what was not so in `count` of `rows` rows is not so in at least one row of every clean night."""
    return count > 0 and night_of(rows) * math.log1p(-min(most_likely(count, rows), 1 - 1e-12)) < math.log(LEVEL)


def most_likely(count: int, rows: int) -> float:
    """Return a share that is hardly ever less than the true one was: three standard deviations below what was seen."""
    share = count / rows
    return max(share - 3 * math.sqrt(share * (1 - share) / rows), 0.0)
