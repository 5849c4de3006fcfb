"""The figure that candidates are chosen by: one number from targets and predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.definition.model import LOWER_IS_BETTER, METRICS_OF, Metric, Task
from nightgate.evaluation.metrics import Scored, value_of


def score(metric: Metric, target: NDArray[Any], prediction: NDArray[np.float64], threshold: float = 0.5) -> float:
    """Return a metric. `prediction`: (n,) probability of class 1, (n, k) probabilities, or (n,) values."""
    task: Task = "regression" if metric in METRICS_OF["regression"] else "multiclass" if prediction.ndim == 2 else "binary"
    return value_of(metric, Scored(task, target, prediction, np.arange(len(target)), threshold))


def signed(metric: Metric, value: float) -> float:
    """Return a score of which more is better."""
    return -value if metric in LOWER_IS_BETTER else value
