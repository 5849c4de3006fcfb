"""Performance: estimated before labels arrive, realised when they do, against what training promised.

An estimate knows the inputs only. It sees harder cases come, and is blind to concept drift: that the same inputs now mean something
else. So it is shown, and never passes or stops a gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from nightgate.definition.model import LOWER_IS_BETTER, Metric, Task
from nightgate.drift import policy
from nightgate.evaluation.metrics import Scored, gain, measure
from nightgate.records import Interval

FEWEST = 100
"""Held-out rows from which a calibrator is learnt; rows with labels from which realised metrics are told."""

LEVEL = policy.LEVEL / 2
"""Chance that a window's metric is told to be worse than promised where it is not: half of what a night's columns have."""

INTERVAL = 0.05
"""Chance that a value lies beyond its 95 % interval."""

KNOTS = 50
"""Steps of a calibrator, or bins of a regression's errors."""

BLIND = "Estimated from the inputs alone: blind to concept drift, and no gate listens to it."
SMALLEST = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """What training promised: the metric with its interval on the hold-out, and what turns predictions into estimates.

    `scores` and `means` are steps: of a class's score and how often it came true, or of a prediction and its mean squared error.
    """

    task: Task
    metric: Metric
    promised: Interval
    threshold: float
    scores: Sequence[Sequence[float]]
    means: Sequence[Sequence[float]]
    absolute: Sequence[float] = ()
    rows: int = 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Promise":
        return cls(**{**value, "promised": Interval(**value["promised"])})


def promise(scored: Scored, metric: Metric, promised: Interval) -> Promise:
    """Return what the hold-out promises. Calibrators are isotonic (Zadrozny and Elkan 2002), one a class where there are several."""
    target, prediction = scored.target, scored.prediction
    if scored.task == "regression":
        error = prediction - target.astype(np.float64)
        edges, squares = _binned(prediction, error**2)
        _, absolutes = _binned(prediction, np.abs(error))
        return Promise(scored.task, metric, promised, scored.threshold, [edges], [squares], absolutes, rows=len(target))
    columns = prediction.reshape(len(target), -1)
    labels = [target == (number if prediction.ndim == 2 else 1) for number in range(columns.shape[1])]
    steps = [_isotonic(columns[:, number], label) for number, label in enumerate(labels)]
    return Promise(scored.task, metric, promised, scored.threshold, [score for score, _ in steps], [mean for _, mean in steps],
                   rows=len(target))


def estimate(made: Promise, prediction: Floats) -> float | None:
    """Return the metric that is to be expected of predictions whose labels are not there yet; None where it cannot be told.

    CBPE (Białek et al. 2023): each calibrated probability stands for a share of a row in each class. For regression the squared or
    absolute error that predictions of that size had on the hold-out.
    """
    if len(prediction) == 0 or (made.task != "regression" and not made.scores[0]):
        return None
    if made.task == "regression":
        squares = float(np.interp(prediction, made.scores[0], made.means[0]).mean())
        spread = float(prediction.var()) + squares
        found = {"rmse": np.sqrt(squares), "mae": np.interp(prediction, made.scores[0], made.absolute).mean(),
                 "r2": 1 - squares / spread if spread else None}.get(made.metric)
        return None if found is None else float(found)
    columns = prediction.reshape(len(prediction), -1)
    truly = np.column_stack([np.interp(columns[:, number], made.scores[number], made.means[number]) for number in range(columns.shape[1])])
    if made.task == "multiclass":
        truly = truly / np.maximum(truly.sum(axis=1, keepdims=True), SMALLEST)
        return {"accuracy": lambda: float(truly[np.arange(len(truly)), columns.argmax(axis=1)].mean()),
                "log_loss": lambda: float(-(truly * np.log(np.clip(columns, SMALLEST, 1))).sum(axis=1).mean())
                }.get(made.metric, lambda: None)()
    return _binary(made, columns[:, 0], truly[:, 0])


def _binary(made: Promise, score: Floats, truly: Floats) -> float | None:
    said = score >= made.threshold
    hit, wrong, lost = (float(each.sum()) for each in (truly[said], 1 - truly[said], truly[~said]))
    spared = float((1 - truly[~said]).sum())
    match made.metric:
        case "auc":
            return _expected_auc(score, truly)
        case "accuracy":
            return (hit + spared) / len(score)
        case "f1":
            return 2 * hit / (2 * hit + wrong + lost) if hit + wrong + lost else None
        case "balanced_accuracy":
            return (hit / (hit + lost) + spared / (spared + wrong)) / 2 if hit + lost and spared + wrong else None
        case "brier":
            return float((truly * (1 - score) ** 2 + (1 - truly) * score**2).mean())
        case "log_loss":
            clipped = np.clip(score, SMALLEST, 1 - SMALLEST)
            return float(-(truly * np.log(clipped) + (1 - truly) * np.log(1 - clipped)).mean())
    return None


def _expected_auc(score: Floats, truly: Floats) -> float | None:
    """Return the AUC when each row is as much of the positive class as its probability says."""
    order = np.argsort(score, kind="stable")
    values, starts = np.unique(score[order], return_index=True)
    positive, negative = (np.add.reduceat(each[order], starts) for each in (truly, 1 - truly))
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs and len(values) > 1 else None


def _isotonic(score: Floats, label: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    from sklearn.isotonic import IsotonicRegression

    if len(score) < FEWEST or len(np.unique(label)) < 2:
        return [], []
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(score, label)
    places = np.quantile(score, np.linspace(0, 1, KNOTS))
    return places.tolist(), fitted.predict(places).tolist()


def _binned(prediction: Floats, error: Floats) -> tuple[list[float], list[float]]:
    """Return the middles of equally full bins of the prediction, and the mean error in each."""
    parts = np.array_split(np.argsort(prediction, kind="stable"), max(1, min(KNOTS, len(prediction) // 30)))
    return [float(prediction[part].mean()) for part in parts], [float(error[part].mean()) for part in parts]


@dataclass(frozen=True)
class Joined:
    """Predictions with their labels, and what was odd about the labels, by what it is."""

    rows: pd.DataFrame
    odd: Mapping[str, int] = field(default_factory=dict)


def join_labels(predictions: pd.DataFrame, labels: pd.DataFrame, *, keys: Sequence[str], target: str, arrived: str | None = None,
                until: datetime | None = None) -> Joined:
    """Join labels to predictions by their keys. Labels that arrive after `until` are not known yet.

    The newest of several labels counts (a correction); several that arrived together and contradict each other count none.
    Of several predictions for the same key the last one counts.
    """
    odd: dict[str, int] = {}
    known = labels[labels[target].notna()]
    if arrived is not None:
        known = known[known[arrived].notna() if until is None else known[arrived] < pd.Timestamp(until)]
        newest = known.groupby(list(keys), dropna=False)[arrived].transform("max")
        odd["corrected"] = int((known[arrived] < newest).sum())
        known = known[known[arrived] == newest]
    different = known.groupby(list(keys), dropna=False)[target].transform("nunique") > 1
    odd["contradicting each other"] = int(different.sum())
    single = known[~different].drop_duplicates(list(keys))
    odd["repeated"] = int((~different).sum()) - len(single)
    asked = predictions.drop_duplicates(list(keys), keep="last")
    odd["asked for more than once"] = len(predictions) - len(asked)
    rows = asked.merge(single[[*keys, target]], on=list(keys), how="inner")
    odd["for unknown entities"] = len(single) - len(rows)
    odd["not there yet"] = len(asked) - len(rows)
    return Joined(rows, {what: count for what, count in odd.items() if count})


@dataclass(frozen=True)
class Performance:
    """A window's performance. `realised` is None without labels enough; `lost`: by `worse` it is worse than what was promised, and that is
    more than `limit`, which chance exceeds in `LEVEL` of the windows."""

    metric: Metric
    promised: Interval
    estimated: float | None
    realised: Interval | None
    labelled: int
    rows: int
    lost: bool
    worse: float = 0.0
    limit: float = 0.0


def perform(made: Promise, prediction: Floats, labelled: Scored | None) -> Performance:
    """Return how a model does in a window: estimated for all its predictions, realised for those with labels."""
    realised, rows = None, 0 if labelled is None else len(labelled.target)
    if labelled is not None and rows >= FEWEST:
        realised = measure(labelled, 0).get(made.metric)
    worse, limit = (0.0, 0.0) if realised is None else _worse(made, realised, rows)
    return Performance(made.metric, made.promised, estimate(made, prediction), realised, rows, len(prediction), worse > limit, worse,
                       limit)


def _worse(made: Promise, realised: Interval, rows: int) -> tuple[float, float]:
    """Return by how much a metric is worse than promised, and how much worse chance makes it: of both their intervals are known.

    A few rows may agree by chance, so that their interval is too narrow: it counts as what the hold-out's would be on as many.
    """
    promised = made.promised
    before, now = (promised.high - promised.value, realised.value - realised.low) if made.metric in LOWER_IS_BETTER else \
        (promised.value - promised.low, realised.high - realised.value)
    now = max(now, before * float(np.sqrt(made.rows / rows)))
    return float(gain(made.metric, promised.value, realised.value)), float(ndtri(LEVEL) / ndtri(INTERVAL / 2) * np.hypot(before, now))
