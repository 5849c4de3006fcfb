"""The decision: challenger against champion on the same rows, promoted only on evidence."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t as student

from nightgate.definition.model import Definition, Metric
from nightgate.evaluation.metrics import Scored, auc_influence, gain, resampled, value_of
from nightgate.records import WAITS, Interval
from nightgate.wording import figure

BASELINE_LEVEL = 0.025
"""One-sided level at which a first model must beat the trivial one: the lower end of its 95 % interval."""


@dataclass(frozen=True)
class Comparison:
    """A paired comparison on the same rows. `gain` is positive where the challenger is better, with its 95 % interval;
    `bound` is the gain's lower end at the one-sided `level`."""

    metric: Metric
    challenger: float
    other: float
    gain: Interval
    bound: float
    level: float
    rows: int


@dataclass(frozen=True)
class Decision:
    """`verdict` is what shall be done; `sentence` says why to a person; `rule` which rule spoke."""

    verdict: Literal["promoted", "kept", "waiting"]
    sentence: str
    rule: str
    comparison: Comparison | None


def compare(metric: Metric, challenger: Scored, other: Scored, *, level: float, seed: int) -> Comparison:
    """Compare two predictions for the same rows, in the same order.

    AUC by DeLong's paired variance, others by a paired bootstrap; bounds by Student's t over the resampled units, which
    keeps the level in small samples.
    """
    if metric == "auc":
        parts = auc_influence(challenger) - auc_influence(other)
        error = max(float(np.sqrt(np.sum(parts**2))), 0.5 / (_freedom(challenger) + 1))  # a perfect order has no variance to see
    else:
        differences = gain(metric, resampled(metric, challenger, seed), resampled(metric, other, seed))
        error = float(np.nanstd(differences, ddof=1))
    mine, theirs = value_of(metric, challenger), value_of(metric, other)
    better = float(gain(metric, mine, theirs))
    freedom = _freedom(challenger)
    half = float(student.ppf(0.975, freedom)) * error
    bound = better - float(student.ppf(1 - level, freedom)) * error
    return Comparison(metric, mine, theirs, Interval(better, better - half, better + half), bound, level,
                      len(challenger.target))


def _freedom(scored: Scored) -> int:
    """Return the degrees of freedom: the scarcer class's units carry the information."""
    units = int(scored.blocks.max()) + 1
    if scored.task == "binary":
        positives = int(np.sum(scored.target == 1))
        units = min(units, positives, len(scored.target) - positives)
    return max(units - 1, 1)


def decide(definition: Definition, *, against_champion: Comparison | None, against_baseline: Comparison,
           champion: int | None, challenger: int, unscored: str = "", same: bool = False) -> Decision:
    """Say whether a challenger shall become champion. `unscored` says why the champion could not be compared; with `same` the
    challenger has learnt what the champion has."""
    metric = definition.metric
    beats = against_baseline.bound > 0
    against = f"{figure(against_baseline.challenger)} against {figure(against_baseline.other)}"
    if not beats:
        return Decision("kept", f"Run {challenger} is not deployed: on {against_baseline.rows:,} held-out rows its {metric} "
                        f"does not beat the trivial baseline's ({against}).", "baseline", against_baseline)
    if champion is None:
        return _asked(definition, Decision("promoted", f"Run {challenger} becomes the first champion: on "
                      f"{against_baseline.rows:,} held-out rows it beats the trivial baseline in {metric}, {against}.",
                      "first", against_baseline))
    if same:
        return Decision("kept", f"Run {champion} stays champion: run {challenger} learnt the very same model.", "same", against_champion)
    if against_champion is None:
        return Decision("kept", f"Run {champion} stays champion: it could not be compared. {unscored}", "unscored", None)
    return _asked(definition, _of_rule(definition, against_champion, champion, challenger))


def _of_rule(definition: Definition, comparison: Comparison, champion: int, challenger: int) -> Decision:
    rule, margin = definition.promotion.rule, definition.promotion.margin
    limit = 0.0 if rule == "better" else -margin
    scores = f"{comparison.metric} {figure(comparison.challenger)} against {figure(comparison.other)}"
    where = f"on the same {comparison.rows:,} held-out rows"
    bound = f"gain at least {figure(comparison.bound, sign=True)} at the nightly level of {comparison.level:.2%}"
    if comparison.bound > limit:
        words = "is better than" if rule == "better" else f"is not worse by {margin:g} than"
        return Decision("promoted", f"Run {challenger} {words} champion {champion} {where}: {scores}, {bound}.",
                        rule, comparison)
    words = "is not shown to be better" if rule == "better" else f"is not shown to be within {margin:g}"
    return Decision("kept", f"Run {champion} stays champion: run {challenger} {words} {where}: {scores}, {bound}.",
                    rule, comparison)


def _asked(definition: Definition, decision: Decision) -> Decision:
    """Turn a promotion into a question where the owner wants to be asked."""
    if decision.verdict != "promoted" or not definition.promotion.approve:
        return decision
    return Decision("waiting", f"{decision.sentence} {WAITS}", decision.rule, decision.comparison)
