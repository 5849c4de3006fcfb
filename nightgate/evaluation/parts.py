"""What a report shows beside the figures: where a model is weak, what it leans on, and the curves of its predictions."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightgate.definition.model import LOWER_IS_BETTER, Metric, Task
from nightgate.evaluation.metrics import Floats, Scored, gain, interval, score
from nightgate.prediction import predict
from nightgate.records import Interval

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

SMALLEST_SLICE = 30
"""Rows below which a slice is shown by size only: an interval would be as wide as the scale."""

MOST_VALUES = 10
SHUFFLED_ROWS = 2_000
SHUFFLES = 3


@dataclass(frozen=True)
class Slice:
    """A part of the hold-out. `figure` is None where it is too small or holds one class only."""

    column: str
    value: str
    rows: int
    figure: Interval | None
    worst: bool = False


@dataclass(frozen=True)
class Importance:
    """How much the metric loses when a column is shuffled; negative where shuffling helped."""

    column: str
    loss: float


def slices(scored: Scored, columns: "pd.DataFrame", metric: Metric, seed: int) -> list[Slice]:
    """Return the metric by each value of each column (numbers in quartiles), the worst one marked."""
    found: list[Slice] = []
    for name in columns.columns:
        values = _labels(columns[name])
        for value in values.value_counts().index[:MOST_VALUES]:
            chosen = (values == value).to_numpy()
            found.append(Slice(str(name), str(value), int(chosen.sum()), _figure(scored.only(chosen), metric, seed)))
    figures = [each.figure.value for each in found if each.figure is not None]
    if len(figures) < 2:
        return found
    worst = max(figures) if metric in LOWER_IS_BETTER else min(figures)
    return [replace(each, worst=each.figure is not None and each.figure.value == worst) for each in found]


def _labels(column: "pd.Series") -> "pd.Series":
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_VALUES:
        column = pd.qcut(column, 4, duplicates="drop")
    return column.astype("string").fillna("(missing)")


def _figure(part: Scored, metric: Metric, seed: int) -> Interval | None:
    if len(part.target) < SMALLEST_SLICE:
        return None
    classes = len(np.unique(part.target))
    if part.task != "regression" and classes < (part.prediction.shape[1] if part.prediction.ndim == 2 else 2):
        return None
    return interval(metric, part, seed)


def importances(pipeline: "Pipeline", frame: "pd.DataFrame", target: np.ndarray, task: Task, metric: Metric, seed: int
                ) -> list[Importance]:
    """Return permutation importances (Breiman 2001) on at most `SHUFFLED_ROWS` rows, largest first."""
    import pandas as pd

    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(frame))[:SHUFFLED_ROWS])
    frame, target = frame.iloc[rows].reset_index(drop=True), target[rows]
    whole = score(metric, target, predict(pipeline, frame, task))
    losses = np.zeros(frame.shape[1])
    for _ in range(SHUFFLES):
        order = random.permutation(len(frame))
        for place, name in enumerate(frame.columns):
            column = pd.Series(frame[name].array.take(order), index=frame.index)
            losses[place] += gain(metric, whole, score(metric, target, predict(pipeline, frame.assign(**{name: column}), task)))
    found = [Importance(str(name), float(loss) / SHUFFLES) for name, loss in zip(frame.columns, losses, strict=True)]
    return sorted(found, key=lambda each: -each.loss)


POINTS = 100
"""Most points of a curve: more cannot be seen."""

BINS = 10


def curves(scored: Scored) -> dict[str, Any]:
    """Return the curves of a task as lists of points, ready for JSON."""
    if scored.task == "regression":
        return _residuals(scored)
    if scored.task == "multiclass":
        return {"confusion": _confusion(scored), "calibration": _calibration(*_top(scored))}
    positive = scored.target == 1
    roc, precision = _ranking(positive, scored.prediction)
    return {"roc": roc, "precision_recall": precision, "calibration": _calibration(positive, scored.prediction),
            "confusion": _confusion(scored)}


def calibration_error(scored: Scored) -> float | None:
    """Return the expected calibration error over `BINS` bins of equal size (Naeini et al., AAAI 2015); None for values."""
    if scored.task == "regression":
        return None
    positive, prediction = _top(scored) if scored.task == "multiclass" else (scored.target == 1, scored.prediction)
    bins = _calibration(positive, prediction)
    rows = sum(each["rows"] for each in bins)
    return float(sum(each["rows"] * abs(each["predicted"] - each["observed"]) for each in bins) / rows)


def _top(scored: Scored) -> tuple[NDArray[np.bool_], Floats]:
    """Return, for several classes, whether the likeliest class is right, and its probability."""
    likeliest = scored.prediction.argmax(axis=1)
    return likeliest == scored.target, scored.prediction.max(axis=1)


def _ranking(positive: NDArray[np.bool_], prediction: Floats) -> tuple[list[list[float]], list[list[float]]]:
    from sklearn.metrics import precision_recall_curve, roc_curve

    alarms, hits, _ = roc_curve(positive, prediction)
    precision, recall, _ = precision_recall_curve(positive, prediction)
    return _thinned(np.column_stack([alarms, hits])), _thinned(np.column_stack([recall, precision])[-2::-1])


def _thinned(points: Floats) -> list[list[float]]:
    chosen = np.unique(np.linspace(0, len(points) - 1, POINTS).astype(int))
    return [[round(float(x), 4), round(float(y), 4)] for x, y in points[chosen]]


def _calibration(positive: NDArray[np.bool_], prediction: Floats) -> list[dict[str, float]]:
    order = np.argsort(prediction, kind="stable")
    return [{"predicted": float(prediction[part].mean()), "observed": float(positive[part].mean()), "rows": len(part)}
            for part in np.array_split(order, min(BINS, len(order))) if len(part)]


def _confusion(scored: Scored) -> list[list[int]]:
    """Return counts, a row per true class, a column per predicted one."""
    from sklearn.metrics import confusion_matrix

    many = scored.prediction.ndim == 2
    predicted = scored.prediction.argmax(axis=1) if many else scored.prediction >= scored.threshold
    counts: list[list[int]] = confusion_matrix(scored.target.astype(int), predicted.astype(int),
                                               labels=range(scored.prediction.shape[1] if many else 2)).tolist()
    return counts


def _residuals(scored: Scored) -> dict[str, Any]:
    target = scored.target.astype(np.float64)
    error = scored.prediction - target
    chosen = np.linspace(0, len(error) - 1, min(400, len(error))).astype(int)
    counts, edges = np.histogram(error, bins=30)
    return {"residuals": [[float(scored.prediction[row]), float(target[row])] for row in chosen],
            "errors": {"counts": counts.tolist(), "edges": edges.tolist()}}
