"""The kinds of rules: what each asks of the data, as SQL aggregates, and what it makes of the answers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightgate.contracts.conditions import literal
from nightgate.contracts.families import Types
from nightgate.contracts.sentences import number

MOVED = 3
"""Values whose shares are told when a distribution has changed."""


@dataclass(frozen=True)
class Finding:
    """What the answers say. `of_values`: `found` shows values of the column, which may be sensitive."""

    success: bool
    found: str
    evaluated: int
    unexpected: int = 0
    of_values: bool = False


@dataclass(frozen=True)
class RowRule:
    """Rows for which `applies` is true (all, if empty) are evaluated; those for which `against` is true too are unexpected.

    `doubt`, where there is one, is an aggregate that is false when no row is against the rule, and is found faster than the rows
    are counted. `by_value` is the column, in SQL, by whose values the rows may be counted, where these are few.
    """

    applies: str
    against: str
    examples: bool = True
    doubt: str = ""
    by_value: str = ""

    @property
    def where(self) -> str:
        return f"({self.applies}) AND ({self.against})" if self.applies else self.against

    @property
    def asks(self) -> tuple[str, ...]:
        # count_if is four times faster than count(*) FILTER
        return (f"count_if({self.applies})" if self.applies else "count(*)", self.doubt or self.counted)

    @property
    def counted(self) -> str:
        """The aggregate that counts the rows against the rule."""
        if not self.by_value:
            return f"count_if({self.where})"
        values = f"SELECT {self.by_value}, count(*) AS n FROM data GROUP BY {self.by_value}"
        return f"(SELECT coalesce(sum(n), 0) FROM ({values}) WHERE {self.where})"

    def judge(self, answers: Sequence[Any], mostly: float) -> Finding:
        evaluated, against = (int(answer or 0) for answer in answers)  # of no rows they are null
        return Finding(_enough(evaluated, against, mostly), f"{against:,} of {evaluated:,} rows against it" if against else "all rows",
                       evaluated, against)


@dataclass(frozen=True)
class Grouped:
    """Rows that are not alone with their `names` are unexpected; they are compared by `key`."""

    names: str
    key: str
    applies: str

    @property
    def where(self) -> str:
        return self.applies or "TRUE"

    @property
    def asks(self) -> tuple[str, ...]:
        twins = f"SELECT count(*) AS n FROM data WHERE {self.where} GROUP BY {self.key} HAVING count(*) > 1"
        return f"count_if({self.where})", f"(SELECT coalesce(sum(n), 0) FROM ({twins}))"

    def judge(self, answers: Sequence[Any], mostly: float) -> Finding:
        evaluated, twins = (int(answer or 0) for answer in answers)
        told = f"{twins:,} of {evaluated:,} rows are not alone with their value" if twins else "all different"
        return Finding(_enough(evaluated, twins, mostly), told, evaluated, twins)


@dataclass(frozen=True)
class Figure:
    """One figure with its bounds, None where there is none."""

    sql: str
    low: Any
    high: Any
    strict_low: bool = False
    strict_high: bool = False


@dataclass(frozen=True)
class Figures:
    """Figures of `counts` values. `at_least`: more than its lower bound is not told. `slack` is relative: sums depend on their order."""

    figures: tuple[Figure, ...]
    counts: str
    of_values: bool
    slack: float = 0.0
    at_least: bool = False

    @property
    def asks(self) -> tuple[str, ...]:
        return (self.counts, *(figure.sql for figure in self.figures))

    def judge(self, answers: Sequence[Any], mostly: float) -> Finding:
        success = all(self._holds(figure, value) for figure, value in zip(self.figures, answers[1:], strict=True))
        found = "so it is" if success and self.at_least else ", ".join(map(number, answers[1:]))
        return Finding(success, found, int(answers[0] or 0), of_values=self.of_values)

    def _holds(self, figure: Figure, value: Any) -> bool:
        if value is None:
            return False
        low, high = (bound if bound is None or not self.slack else bound + sign * self.slack * abs(bound)
                     for bound, sign in ((figure.low, -1), (figure.high, 1)))
        above = low is None or (value > figure.low if figure.strict_low else value >= low)
        below = high is None or (value < figure.high if figure.strict_high else value <= high)
        return bool(above and below)


@dataclass(frozen=True)
class Quantiles:
    """Quantiles with their bounds, told by counting the values beyond these: no value has to be sorted.

    A quantile is the value at rank `round((n - 1) · q)`, as pandas has it with `interpolation="nearest"`.
    """

    sql: str
    applies: str
    bounds: tuple[tuple[float, Any, Any], ...]

    @property
    def asks(self) -> tuple[str, ...]:
        sides = [f"count_if({self.applies} AND {self.sql} {sign} {literal(bound)})" if bound is not None else "NULL"
                 for _, low, high in self.bounds for sign, bound in (("<", low), (">", high))]
        return (f"count_if({self.applies})", *sides)

    def judge(self, answers: Sequence[Any], mostly: float) -> Finding:
        rows = int(answers[0] or 0)
        if rows == 0:
            return Finding(False, "", 0)
        wrong = []
        for (quantile, low, high), below, above in zip(self.bounds, answers[1::2], answers[2::2], strict=True):
            rank = round((rows - 1) * quantile)
            if below is not None and below > rank:
                wrong.append(f"{below / rows:.1%} of the values are below {number(low)}")
            if above is not None and above > rows - 1 - rank:
                wrong.append(f"{above / rows:.1%} of the values are above {number(high)}")
        return Finding(not wrong, "; ".join(wrong) or "so it is", rows)


@dataclass(frozen=True)
class Shares:
    """A distribution over named values, at most `threshold` away (Kullback-Leibler, natural logarithm, as scipy.stats.entropy).

    `holdout` is the weight of all values that are not expected, together.
    """

    sql: str
    condition: str
    expected: tuple[tuple[Any, float], ...]
    threshold: float
    holdout: float

    @property
    def asks(self) -> tuple[str, ...]:
        return (f"histogram({self.sql}){f' FILTER (WHERE {self.condition})' if self.condition else ''}",)

    def judge(self, answers: Sequence[Any], mostly: float) -> Finding:
        counts: Mapping[Any, int] = answers[0] or {}
        rows = sum(counts.values())
        if rows == 0:
            return Finding(False, "", 0)
        shares = self._shares(counts)
        distance = self.distance(counts)
        moved = sorted(shares, key=lambda value: -abs(shares[value][0] - shares[value][1]))[:MOVED]
        told = "; ".join(f"{str(value)[:60]} {shares[value][0]:.2g} instead of {shares[value][1]:.2g}" for value in moved)
        found = f"distance {distance:.3g}, at most {self.threshold:g}: {told}"
        return Finding(distance <= self.threshold + 1e-12, found, rows, of_values=True)

    def distance(self, counts: Mapping[Any, int]) -> float:
        """Return how far the shares of counted values are from those expected; infinite for a new value without a holdout."""
        return sum(one * math.log(one / other) if other else math.inf for one, other in self._shares(counts).values() if one)

    def _shares(self, counts: Mapping[Any, int]) -> Mapping[Any, tuple[float, float]]:
        """Return the share found and the share expected of each value."""
        weights, rows = dict(self.expected), sum(counts.values())
        new = counts.keys() - weights.keys()
        if new:
            weights = {value: weight * (1 - self.holdout) for value, weight in weights.items()}
            weights |= dict.fromkeys(new, self.holdout / len(new))
        whole = sum(weights.values())
        return {value: (counts.get(value, 0) / rows, weight / whole) for value, weight in weights.items()}


@dataclass(frozen=True)
class Shape:
    """A rule about columns and types; `wrong` gives what was found instead, empty when it holds."""

    wrong: Callable[[Types], str]


Rule = RowRule | Grouped | Figures | Quantiles | Shares | Shape


def _enough(evaluated: int, against: int, mostly: float) -> bool:
    return not evaluated or (evaluated - against) / evaluated >= mostly
