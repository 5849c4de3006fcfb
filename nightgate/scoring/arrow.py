"""Typed tables as the evaluators take them: columns of a block, or the values of one row after the other."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightgate.scoring.blocks import Column, Texts


def columns_of(table: pa.Table, raw: Mapping[str, str]) -> list[Column]:
    """Return the columns that a form takes, of a table with its types. What is infinite is missing."""
    return [_column(table[name], kind) for name, kind in raw.items()]


def rows_of(table: pa.Table, raw: Mapping[str, str]) -> Iterator[tuple[Any, ...]]:
    """Yield the same rows as values of Python."""
    return zip(*([None if isinstance(value, float) and not np.isfinite(value) else value for value in table[name].to_pylist()]
                 for name in raw), strict=True)


def _column(column: pa.ChunkedArray, kind: str) -> Column:
    if kind == "text":
        coded = column.combine_chunks() if pa.types.is_dictionary(column.type) else column.combine_chunks().dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.chunk(0) if coded.num_chunks else pa.array([], coded.type)
        codes = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)
        return Texts([*coded.dictionary.to_pylist(), None], codes.astype(np.int64))
    if kind == "date":
        return column.to_numpy().astype("datetime64[us]")
    values = pc.cast(column, pa.float64(), safe=False).to_numpy().copy()
    values[np.isinf(values)] = np.nan
    return values
