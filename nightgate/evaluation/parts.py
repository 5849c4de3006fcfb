"""Where a model is weak and what it leans on: slices, and permutation importances."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nightgate.definition.model import LOWER_IS_BETTER, Metric, Task
from nightgate.evaluation.metrics import Scored, interval
from nightgate.prediction import predict
from nightgate.records import Interval
from nightgate.training.scores import score

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
    return [Slice(each.column, each.value, each.rows, each.figure, each.figure is not None and each.figure.value == worst)
            for each in found]


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
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    whole = sign * score(metric, target, predict(pipeline, frame, task))
    losses = np.zeros(frame.shape[1])
    for _ in range(SHUFFLES):
        order = random.permutation(len(frame))
        for place, name in enumerate(frame.columns):
            column = pd.Series(frame[name].array.take(order), index=frame.index)
            losses[place] += whole - sign * score(metric, target, predict(pipeline, frame.assign(**{name: column}), task))
    found = [Importance(str(name), float(loss) / SHUFFLES) for name, loss in zip(frame.columns, losses, strict=True)]
    return sorted(found, key=lambda each: -each.loss)
