"""What a fitted pipeline says, in the one form that every part of Nightgate uses."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightgate.definition.model import Task

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

CHANGE = "change_of_"
"""Begins the name of a column of the predictions boundary that says by how much predictions are above the champion's mean."""

BLOCK = 5_000
"""Rows predicted at once: larger blocks leave the processor's cache and take two to three times longer."""


def predict(pipeline: "Pipeline", frame: "pd.DataFrame", task: Task) -> NDArray[np.float64]:
    """Return (n,) probabilities of the positive class, (n, k) probabilities of the classes, or (n,) values."""
    parts = [said(pipeline, frame.iloc[start:start + BLOCK], task) for start in range(0, len(frame), BLOCK)]
    return np.concatenate(parts)


def said(model: Any, rows: Any, task: Task) -> NDArray[np.float64]:
    """Return what a fitted estimator says of rows in the form that it takes."""
    if task == "regression":
        return np.asarray(model.predict(rows), dtype=np.float64)
    probabilities = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return probabilities[:, 1] if task == "binary" else probabilities
