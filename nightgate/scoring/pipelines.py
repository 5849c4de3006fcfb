"""What a fitted pipeline itself says of typed rows: what compiled scorers are compared with, and what serves where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.features import engineer_frame
from nightgate.prediction import predict


@dataclass(frozen=True)
class PipelineScorer:
    """A fitted pipeline with what makes its inputs of the columns `raw`; `inputs`: the features it takes and their types."""

    definition: Definition
    pipeline: Pipeline
    raw: Mapping[str, ColumnType]
    inputs: Mapping[str, str]

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Return the predictions for typed rows."""
        made = engineer_frame(self.definition, rows[list(self.raw)], self.raw)
        features = pd.DataFrame({name: _feature(made[name], categorical=kind == "category") for name, kind in self.inputs.items()})
        return predict(self.pipeline, features, self.definition.task)


def _feature(column: "pd.Series[Any]", *, categorical: bool) -> Any:
    """Return a feature as `tables.read_table` gives it to the pipeline: a category of texts, or numbers."""
    if categorical:
        return pd.Categorical(pc.cast(pa.Array.from_pandas(column), pa.string()).to_pylist())
    values = column.astype("float64").to_numpy()
    return np.where(np.isinf(values), np.nan, values)
