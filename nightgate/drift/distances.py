"""Distances between two sketches of a column, and how large chance alone makes them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from nightgate.drift.sketches import Categories, Numbers

DRAWS = 400
"""Samples from which the mean square of the largest of many categories' changes is estimated."""

KS_MEAN_SQUARE, KUIPER_MEAN_SQUARE = 0.8225, 1.645
"""Of one row's worth: pi^2 / 12 and pi^2 / 6 are the second moments of Kolmogorov's and Kuiper's distributions."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """How far two distributions of numbers are apart: the largest difference and whether values went up there, the largest above plus the
    largest below, and by how much the mean rank among the reference's values, and the ranks' distance from their middle, have changed."""

    ks: float
    upward: bool
    kuiper: float
    rank: "Score"
    spread: "Score"


@dataclass(frozen=True)
class Score:
    """By how much the mean of a score of the values has changed; `deviation` is that of one row where nothing has changed."""

    change: float
    deviation: float


def gap(reference: Numbers, current: Numbers) -> Gap:
    """Return the distances of two columns counted over the same bins: Kolmogorov-Smirnov, Kuiper, and two of ranks.

    The mean rank is Mann and Whitney's (1947), less a half; the distance of ranks from their middle is Ansari and Bradley's (1960). They
    are never larger than Kolmogorov-Smirnov's and Kuiper's.
    """
    shares = np.cumsum(current.counts) / current.known
    bins = current.bins.astype(np.int64)
    # between two of the current bins its curve is flat: the extremes stand at its steps, before and after
    below = float((reference.cumulative[bins] - np.concatenate([[0.0], shares[:-1]])).max())
    above = float((shares - reference.cumulative[bins + 1]).max())
    below, above = max(below, 0.0), max(above, 0.0)
    first, second = reference.ranks[reference.bins.astype(np.int64)], reference.ranks[bins]
    return Gap(max(below, above), below >= above, below + above, _score(first, second, reference, current),
               _score(np.abs(2 * first - 1), np.abs(2 * second - 1), reference, current))


def _score(first: Floats, second: Floats, reference: Numbers, current: Numbers) -> Score:
    """Compare the means of a score of the bins of both; the deviation is that of all rows together."""
    was, now = (float(score @ each.counts) / each.known for score, each in ((first, reference), (second, current)))
    squares = float(first**2 @ reference.counts + second**2 @ current.counts)
    rows = reference.known + current.known
    mean = (was * reference.known + now * current.known) / rows
    return Score(now - was, float(np.sqrt(max(0.0, squares / rows - mean**2))))


def ks_limit(level: float, rows: float) -> float:
    """Return the distance that chance exceeds with probability `level`. Source: Stephens, JRSS B 32 (1970)."""
    root = np.sqrt(rows)
    return float(np.sqrt(np.log(2 / level) / 2) / (root + 0.12 + 0.11 / root))  # the first term of the series: exact to 1e-6 below 0.1


def kuiper_limit(level: float, rows: float) -> float:
    """Return Kuiper's distance that chance exceeds with probability `level`: the two leading terms of its series (Stephens 1970)."""
    value = 1.7
    for _ in range(60):  # level = (8 x^2 - 2) exp(-2 x^2), solved for x by iteration: it contracts for x > 1.5
        value = float(np.sqrt(np.log((8 * value * value - 2) / level) / 2))
    root = np.sqrt(rows)
    return value / float(root + 0.155 + 0.24 / root)


def aligned(reference: Categories, current: Categories) -> tuple[list[str], Floats, Floats]:
    """Return counts of both over the same categories, with their names; over buckets where either has too many to name."""
    if reference.names is None or current.names is None:
        return [], reference.hashed().astype(float), current.hashed().astype(float)
    first, second = reference.names, current.names
    names = [*first, *(name for name in second if name not in first)]
    return names, np.array([first.get(name, 0) for name in names], float), np.array([second.get(name, 0) for name in names], float)


def share_limit(level: float, share: float, rows: float) -> float:
    """Return by how much chance lets a share of `rows` differ, one-sided: normal, with its skewness (Cornish and Fisher 1938)."""
    quantile = float(-ndtri(level))
    spread = np.sqrt(share * (1 - share) / rows)
    return float(quantile * spread + max(0.0, (quantile * quantile - 1) * (1 - 2 * share) / (6 * rows)))


def largest_share_mean_square(counts: Floats, rows: int) -> float:
    """Return the mean square of the largest change of a category's share that chance makes in a sample of `rows`."""
    whole = counts.sum()
    if rows <= 0 or whole <= 0:
        return 0.0
    shares = counts / whole
    drawn = np.random.default_rng(0).multinomial(rows, shares, DRAWS) / rows
    return float(np.mean(np.abs(drawn - shares).max(axis=1) ** 2))


def chi_square_chance(first: Floats, second: Floats) -> float:
    """Return the probability of such counts when both come from one distribution; categories with few rows count together."""
    expected = (first + second) / (first.sum() + second.sum())
    rare = expected * min(first.sum(), second.sum()) < 5
    pairs = [np.append(each[~rare], each[rare].sum()) for each in (first, second)]
    both = pairs[0] + pairs[1]
    pairs, both = [each[both > 0] for each in pairs], both[both > 0]
    if len(both) < 2:
        return 1.0
    shares = both / both.sum()
    statistic = sum(float(np.sum((each - each.sum() * shares) ** 2 / (each.sum() * shares))) for each in pairs)
    return float(chdtrc(len(both) - 1, statistic))
