"""The figure that candidates are chosen by: one number from targets and predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nightgate.definition.model import LOWER_IS_BETTER, Metric


def score(metric: Metric, target: NDArray[Any], prediction: NDArray[np.float64], threshold: float = 0.5) -> float:
    """Return a metric. `prediction`: (n,) probability of class 1, (n, k) probabilities, or (n,) values."""
    if metric == "auc":
        return _auc(target, prediction)
    from sklearn import metrics

    if metric in ("rmse", "mae", "r2"):
        return {"rmse": lambda: float(np.sqrt(np.mean((prediction - target) ** 2))),
                "mae": lambda: float(np.mean(np.abs(prediction - target))),
                "r2": lambda: float(metrics.r2_score(target, prediction))}[metric]()
    if metric == "log_loss":
        labels = np.arange(prediction.shape[1]) if prediction.ndim == 2 else [0, 1]
        return float(metrics.log_loss(target, prediction, labels=labels))
    if metric == "average_precision":
        return float(metrics.average_precision_score(target, prediction))
    if metric == "brier":
        return float(np.mean((prediction - target) ** 2))
    predicted = prediction.argmax(axis=1) if prediction.ndim == 2 else (prediction >= threshold).astype(int)
    if metric == "f1":
        return float(metrics.f1_score(target, predicted, average="macro" if prediction.ndim == 2 else "binary", zero_division=0))
    return float(metrics.balanced_accuracy_score(target, predicted) if metric == "balanced_accuracy"
                 else np.mean(predicted == target))


def signed(metric: Metric, value: float) -> float:
    """Return a score of which more is better."""
    return -value if metric in LOWER_IS_BETTER else value


def _auc(target: NDArray[Any], prediction: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve by ranks (Mann & Whitney, 1947); with classes, the mean of one against the rest."""
    if prediction.ndim == 2:
        return float(np.mean([_auc(target == number, column) for number, column in enumerate(prediction.T)]))
    positive = target == 1
    positives = int(positive.sum())
    negatives = len(target) - positives
    ranks = float(rankdata(prediction)[positive].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
