"""The feature table in memory: features, target, identities and slices of one data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.datasets import GROUP, ROW, Dataset
from nightgate.definition.model import Definition
from nightgate.errors import DataUnusable, FileMissing
from nightgate.store import found_at
from nightgate.wording import counted

SHOWN = 5
"""Values that a message names at most."""


@dataclass(frozen=True)
class Table:
    """Rows of a feature table, all in the same order.

    `frame`: (n, features), numbers as float64 with NaN, the rest as `category` of texts. `target`: (n,) 0/1 where 1 is the
    positive class, numbers of `classes`, or values. `rows`, `groups`: (n,) uint64. `time`: (n,) datetime64 or None.
    """

    frame: pd.DataFrame
    target: NDArray[Any]
    classes: tuple[str, ...]
    rows: NDArray[np.uint64]
    groups: NDArray[np.uint64]
    time: NDArray[np.datetime64] | None
    slices: pd.DataFrame
    infinite: int


@lru_cache(maxsize=1)
def read_once(dataset: Dataset, definition: str) -> tuple[Table, Definition]:
    """Return a feature table and its definition, given in JSON; the last one is kept, since stages share it in a process."""
    made = Definition.model_validate_json(definition)
    return read_table(dataset, made), made


def read_table(dataset: Dataset, definition: Definition) -> Table:
    """Read a feature table. Raises DataUnusable for a target that cannot be learnt from."""
    features = feature_names(dataset, definition)
    if not features:
        raise DataUnusable("No feature is left.", remedy="Exclude fewer columns, or name another target.")
    slices = [name for name in definition.evaluation.slices if name in dataset.names]
    wanted = {*features, *slices, definition.target, ROW, GROUP, *([definition.time] if definition.time else [])}
    table = _read(dataset.uri, [name for name in dataset.names if name in wanted])
    infinite = 0
    columns: dict[str, Any] = {}
    for name in features:
        column, strange = _feature(table[name], categorical=name in definition.columns.categorical)
        columns[name], infinite = column, infinite + strange
    target, classes = _target(table[definition.target], definition)
    time = None if definition.time is None else table[definition.time].to_numpy().astype("datetime64[us]")
    parts = pd.DataFrame({name: _feature(table[name], categorical=False)[0] for name in slices}, index=range(len(target)))
    return Table(pd.DataFrame(columns, copy=False), target, classes, table[ROW].to_numpy(), table[GROUP].to_numpy(), time,
                 parts, infinite)


def feature_names(dataset: Dataset, definition: Definition) -> list[str]:
    """Return the columns that are features: all but target, keys, times and slices that are excluded."""
    hidden = {*definition.not_features, *definition.columns.text, ROW, GROUP}
    return [column.name for column in dataset.columns if column.name not in hidden and column.type != "date"]


def numeric_and_categorical(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the names of the numeric and of the categorical features."""
    categorical = [str(name) for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return [str(name) for name in frame.columns if name not in set(categorical)], categorical


def _read(uri: str, names: Sequence[str]) -> pa.Table:
    files, path = found_at(uri)
    if not files.exists(path):
        raise FileMissing(f"{uri} is not in the store.", remedy="Run the model again to make it anew.")
    with files.open(path, "rb") as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        texts = [field.name for field in parquet.schema_arrow if pa.types.is_string(field.type)
                 or pa.types.is_large_string(field.type)]
    with files.open(path, "rb") as file:
        return pq.ParquetFile(file, pre_buffer=False, read_dictionary=texts).read(columns=list(names))


def _feature(column: pa.ChunkedArray, *, categorical: bool) -> tuple[Any, int]:
    """Return a feature as pandas takes it, and how many values were infinite (they count as missing)."""
    kind = column.type
    if categorical and not pa.types.is_dictionary(kind):
        column = pc.cast(column, pa.string())
        kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _category(column), 0
    values = pc.cast(column, pa.float64(), safe=False).to_numpy().copy()  # beyond 2^53 the nearest float will do
    strange = np.isinf(values)
    values[strange] = np.nan
    return values, int(strange.sum())


def _category(column: pa.ChunkedArray) -> pd.Categorical:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], column.type)
    texts = np.array(whole.dictionary.to_pylist(), dtype=object)
    order = np.argsort(texts.astype(str), kind="stable")
    place = np.empty(len(order) + 1, dtype=np.int32)
    place[order], place[-1] = np.arange(len(order)), -1
    codes = pc.fill_null(whole.indices, len(order)).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(place[codes], categories=pd.Index(texts[order], dtype=object))


def _target(column: pa.ChunkedArray, definition: Definition) -> tuple[NDArray[Any], tuple[str, ...]]:
    name = definition.target
    if column.null_count:
        raise DataUnusable(f"The target `{name}` is missing in {column.null_count:,} of {len(column):,} rows.",
                           remedy="Leave rows without a known target out at the source.")
    if definition.task == "regression":
        return _values(column, name), ()
    texts = _category(column if pa.types.is_dictionary(column.type) else pc.cast(column, pa.string()))
    classes, codes = tuple(str(value) for value in texts.categories), np.asarray(texts.codes)
    present = np.bincount(codes, minlength=len(classes)) > 0
    classes = tuple(value for value, there in zip(classes, present, strict=True) if there)
    codes = (np.cumsum(present) - 1)[codes]
    if len(classes) < 2:
        raise DataUnusable(f"The target `{name}` has one class only, in all of {counted(len(column), 'row')}.",
                           remedy="A model needs rows of at least two classes: widen the window or mend the source.")
    if definition.task == "multiclass":
        return codes.astype(np.int16), classes
    positive = _as_text(definition.positive)
    if positive not in classes or len(classes) > 2:
        shown = ", ".join(f"`{value}`" for value in classes[:SHOWN]) + (" …" if len(classes) > SHOWN else "")
        raise DataUnusable(f"The target `{name}` has {len(classes)} classes ({shown}); a binary model needs two, one of them "
                           f"`{positive}`.", remedy="Mend `positive` or `task` in the definition, or the source.")
    other = next(value for value in classes if value != positive)
    return (codes == classes.index(positive)).astype(np.int8), (other, positive)


def _as_text(positive: bool | int | float | str | None) -> str:
    """Return a positive class as Arrow writes the values of its column."""
    if isinstance(positive, bool):
        return str(positive).lower()
    return str(int(positive)) if isinstance(positive, float) and positive.is_integer() else str(positive)


def _values(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise DataUnusable(f"The target `{name}` is {column.type}, no number.",
                           remedy="A regression needs numbers: mend the source, or say another task.")
    values = pc.cast(column, pa.float64(), safe=False).to_numpy()
    strange = int((~np.isfinite(values)).sum())
    if strange:
        raise DataUnusable(f"The target `{name}` is infinite or not a number in {strange:,} of {len(values):,} rows.",
                           remedy="Mend the source.")
    if np.ptp(values) == 0.0:
        raise DataUnusable(f"The target `{name}` is {values[0]:g} in every row.", remedy="There is nothing to learn from it.")
    return np.asarray(values)
