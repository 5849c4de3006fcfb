"""Metrics with intervals: every metric as a function of means over rows, so that resampling it costs one product.

Rows of one group (an entity) are resampled together. Above `MOST_BLOCKS` groups, groups are joined into blocks at random:
the bootstrap over blocks of independent rows has the same limit, and its cost no longer grows with the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from nightgate.definition.model import LOWER_IS_BETTER, METRICS_OF, Metric, Task
from nightgate.records import Interval

Floats = NDArray[np.float64]

RESAMPLES = 1_000
MOST_BLOCKS = 5_000
SMALLEST_PROBABILITY = 1e-15
"""Probabilities are clipped to it before a logarithm, as scikit-learn does for float64."""


@dataclass(frozen=True)
class Scored:
    """Predictions for rows with known targets.

    `target`: (n,) 0/1, class numbers, or values. `prediction`: (n,) probability of the positive class, (n, k)
    probabilities, or (n,) values. `blocks`: (n,) numbers of the units that are resampled together.
    """

    task: Task
    target: NDArray[np.generic]
    prediction: Floats
    blocks: NDArray[np.int64]
    threshold: float = 0.5

    def only(self, chosen: NDArray[np.bool_]) -> "Scored":
        _, blocks = np.unique(self.blocks[chosen], return_inverse=True)
        return Scored(self.task, self.target[chosen], self.prediction[chosen], blocks, self.threshold)


def blocks_of(groups: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Number the units of resampling: groups, joined at random where there are more than `MOST_BLOCKS`."""
    unique, number = np.unique(groups, return_inverse=True)
    if len(unique) <= MOST_BLOCKS:
        return number.astype(np.int64)
    places = np.random.default_rng(seed).permutation(len(unique)) % MOST_BLOCKS
    return places[number]


def measure(scored: Scored, seed: int) -> dict[str, Interval]:
    """Return every metric of the task with its 95 % interval."""
    metrics = METRICS_OF[scored.task]
    if scored.task != "regression" and len(np.unique(scored.target)) < 2:
        metrics = tuple(metric for metric in metrics if metric in ("log_loss", "brier", "accuracy"))
    if scored.task == "multiclass" and len(np.unique(scored.target)) < scored.prediction.shape[1]:
        metrics = tuple(metric for metric in metrics if metric != "auc")
    return {metric: interval(metric, scored, seed) for metric in metrics}


def interval(metric: Metric, scored: Scored, seed: int) -> Interval:
    """Return a metric with its 95 % interval: DeLong's on the logit scale for AUC, percentiles of a bootstrap otherwise."""
    value = value_of(metric, scored)
    if metric == "auc":
        return _auc_interval(value, float(np.sqrt(np.sum(auc_influence(scored) ** 2))))
    low, high = np.nanpercentile(resampled(metric, scored, seed), [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)))


def value_of(metric: Metric, scored: Scored) -> float:
    if metric == "auc":
        return _auc(scored.target, scored.prediction)
    if metric == "average_precision":
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(scored.target, scored.prediction))
    return float(_COMBINE.get(metric, _first)(_terms(metric, scored).mean(axis=0)))


def score(metric: Metric, target: NDArray[np.generic], prediction: Floats) -> float:
    """Return the figure that candidates are chosen by. `prediction`: (n,) probability of class 1, (n, k) probabilities, or (n,) values."""
    task: Task = "regression" if metric in METRICS_OF["regression"] else "multiclass" if prediction.ndim == 2 else "binary"
    return value_of(metric, Scored(task, target, prediction, np.arange(len(target))))


def _auc(target: NDArray[np.generic], prediction: Floats) -> float:
    """Return the area under the ROC curve by ranks (Mann & Whitney, 1947); with classes, the mean of one against the rest."""
    if prediction.ndim == 2:
        return float(np.mean([_auc(target == number, column) for number, column in enumerate(prediction.T)]))
    positive = target == 1
    positives = int(positive.sum())
    ranks = float(rankdata(prediction)[positive].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * (len(target) - positives))


def gain(metric: Metric, challenger: float | Floats, champion: float | Floats) -> float | Floats:
    """Return how much better the first is; positive is better whatever the metric's direction."""
    return champion - challenger if metric in LOWER_IS_BETTER else challenger - champion


def resampled(metric: Metric, scored: Scored, seed: int) -> Floats:
    """Return the metric in each of `RESAMPLES` Poisson bootstrap samples of blocks; the same seed, the same samples."""
    count = int(scored.blocks.max()) + 1
    weights = _weights(seed, count)
    if metric == "average_precision":
        return _resampled_precision(scored, weights)
    terms = _terms(metric, scored)
    sums = np.stack([np.bincount(scored.blocks, column, count) for column in terms.T], axis=1)
    rows = weights @ np.bincount(scored.blocks, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_COMBINE.get(metric, _first)((weights @ sums) / rows[:, None]))


@lru_cache(maxsize=2)
def _weights(seed: int, count: int) -> NDArray[np.float32]:
    """Return how often each block is drawn in each sample, (RESAMPLES, count); the same for every metric."""
    return np.random.default_rng(seed).poisson(1.0, (RESAMPLES, count)).astype(np.float32)


def auc_influence(scored: Scored) -> Floats:
    """Return each block's share of the AUC's error, (blocks,): the square root of the sum of squares is its standard error.

    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) by the placements of Sun & Xu (2014); summed within blocks as in
    Obuchowski, Biometrics 53 (1997). With several classes: the mean of one class against the rest.
    """
    if scored.task == "multiclass":
        classes = range(scored.prediction.shape[1])
        parts = [_influence(scored.target == number, scored.prediction[:, number]) for number in classes]
        rows = np.mean(parts, axis=0)
    else:
        rows = _influence(scored.target == 1, scored.prediction)
    return np.bincount(scored.blocks, rows).astype(np.float64)


def _influence(positive: NDArray[np.bool_], prediction: Floats) -> Floats:
    positives, negatives = int(positive.sum()), int((~positive).sum())
    everywhere = rankdata(prediction)
    placements = np.empty(len(prediction))
    placements[positive] = (everywhere[positive] - rankdata(prediction[positive])) / negatives
    placements[~positive] = 1.0 - (everywhere[~positive] - rankdata(prediction[~positive])) / positives
    auc = placements[positive].mean()
    scale = np.where(positive, 1 / np.sqrt(positives * max(positives - 1, 1)),
                     1 / np.sqrt(negatives * max(negatives - 1, 1)))
    return np.asarray((placements - auc) * scale)


def _auc_interval(value: float, error: float) -> Interval:
    if not 0.0 < value < 1.0 or error == 0.0:
        return Interval(value, value, value)
    logit = np.log(value / (1 - value))
    half = norm.ppf(0.975) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half)))
    return Interval(value, float(low), float(high))


def _terms(metric: Metric, scored: Scored) -> Floats:
    """Return what is averaged over rows, (n, k)."""
    target, prediction = scored.target, scored.prediction
    if scored.task == "regression":
        error = prediction - target.astype(np.float64)
        truth = target.astype(np.float64) - float(target.astype(np.float64).mean())
        return {"rmse": _columns(error**2), "mae": _columns(np.abs(error)), "r2": _columns(error**2, truth, truth**2)}[metric]
    if metric in ("log_loss", "brier"):
        return _columns(_probability_loss(metric, scored))
    predicted = prediction.argmax(axis=1) if prediction.ndim == 2 else (prediction >= scored.threshold).astype(int)
    if metric == "accuracy":
        return _columns(predicted == target)
    classes = [1] if metric == "f1" and prediction.ndim == 1 else range(prediction.shape[1] if prediction.ndim == 2 else 2)
    parts = []
    for number in classes:
        truly, said = target == number, predicted == number
        parts += [truly & said, truly] if metric == "balanced_accuracy" else [truly & said, truly, said]
    return _columns(*parts)


def _probability_loss(metric: Metric, scored: Scored) -> Floats:
    rows = np.arange(len(scored.target))
    prediction = scored.prediction
    truly = prediction[rows, scored.target.astype(int)] if prediction.ndim == 2 \
        else np.where(scored.target == 1, prediction, 1 - prediction)
    if metric == "brier":
        return np.asarray((1 - truly) ** 2)
    return np.asarray(-np.log(np.clip(truly, SMALLEST_PROBABILITY, 1)))


def _columns(*parts: NDArray[np.generic]) -> Floats:
    return np.stack([part.astype(np.float64) for part in parts], axis=1)


def _first(means: Floats) -> Floats:
    return np.asarray(means[..., 0])


def _r2(means: Floats) -> Floats:
    return np.asarray(1 - means[..., 0] / (means[..., 2] - means[..., 1] ** 2))


def _f1(means: Floats) -> Floats:
    hit, truly, said = means[..., 0::3], means[..., 1::3], means[..., 2::3]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(2 * hit / (truly + said)).mean(axis=-1))


def _recall(means: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(means[..., 0::2] / means[..., 1::2], axis=-1))


_COMBINE: dict[str, Callable[[Floats], Floats]] = {
    "rmse": lambda means: np.asarray(np.sqrt(means[..., 0])), "r2": _r2, "f1": _f1, "balanced_accuracy": _recall}


def _resampled_precision(scored: Scored, weights: NDArray[np.float32]) -> Floats:
    order = np.argsort(-scored.prediction, kind="stable")
    positive, blocks = (scored.target == 1)[order], scored.blocks[order]
    last = np.append(np.diff(scored.prediction[order]) != 0, True)  # ties are one step
    found = np.empty(len(weights))
    for number, weight in enumerate(weights):
        rows = weight[blocks]
        hits = np.cumsum(rows * positive)[last]
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.nan_to_num(hits / np.cumsum(rows)[last])
        found[number] = np.sum(np.diff(hits, prepend=0.0) * precision) / hits[-1] if hits[-1] else np.nan
    return found
