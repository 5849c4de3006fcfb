"""What a report draws of a model's predictions: curves, calibration, confusion, residuals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.evaluation.metrics import Floats, Scored

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
    order = np.argsort(-prediction, kind="stable")
    last = np.append(np.diff(prediction[order]) != 0, True)  # ties are one step
    hits, alarms = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    roc = np.column_stack([alarms / max(alarms[-1], 1), hits / max(hits[-1], 1)])
    precision = np.column_stack([hits / max(hits[-1], 1), hits / (hits + alarms)])
    return _thinned(np.vstack([[0.0, 0.0], roc])), _thinned(precision)


def _thinned(points: Floats) -> list[list[float]]:
    chosen = np.unique(np.linspace(0, len(points) - 1, POINTS).astype(int))
    return [[round(float(x), 4), round(float(y), 4)] for x, y in points[chosen]]


def _calibration(positive: NDArray[np.bool_], prediction: Floats) -> list[dict[str, float]]:
    order = np.argsort(prediction, kind="stable")
    return [{"predicted": float(prediction[part].mean()), "observed": float(positive[part].mean()), "rows": len(part)}
            for part in np.array_split(order, min(BINS, len(order))) if len(part)]


def _confusion(scored: Scored) -> list[list[int]]:
    """Return counts, a row per true class, a column per predicted one."""
    if scored.prediction.ndim == 2:
        predicted, classes = scored.prediction.argmax(axis=1), scored.prediction.shape[1]
    else:
        predicted, classes = (scored.prediction >= scored.threshold).astype(int), 2
    places = scored.target.astype(int) * classes + predicted
    return np.bincount(places, minlength=classes**2).reshape(classes, classes).tolist()


def _residuals(scored: Scored) -> dict[str, Any]:
    target = scored.target.astype(np.float64)
    error = scored.prediction - target
    chosen = np.linspace(0, len(error) - 1, min(400, len(error))).astype(int)
    counts, edges = np.histogram(error, bins=30)
    return {"residuals": [[float(scored.prediction[row]), float(target[row])] for row in chosen],
            "errors": {"counts": counts.tolist(), "edges": edges.tolist()}}
