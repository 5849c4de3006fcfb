"""Faults that data pipelines really have, injected one at a time into a table that is right.

Each is deterministic. What cannot happen to a column (the sign of a column of zeros) is not injected.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.datasets import Column, ColumnType
from nightgate.definition.model import Definition

SHARE = 0.05
"""Share of rows that a fault of some rows hits."""

CATEGORIES = 100
"""Different texts up to which a new one is a new category."""

ZONE = timedelta(hours=6)
MONTH = timedelta(days=30)
Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, the columns it hits (none: whole rows or the file), and how the damaged file is written."""

    kind: str
    columns: tuple[str, ...]
    write: Callable[[pa.Table, Path], Path]
    days: int = 0
    """Days after the night of the table."""


def faults(table: pa.Table, columns: Sequence[Column], definition: Definition) -> Iterator[Fault]:
    """Yield every fault that can happen to a table whose `columns` the model uses."""
    for column in columns:
        for kind, change in _of_column(table[column.name], column.type, target=column.name == definition.target):
            yield Fault(kind, (column.name,), _written(_replacing(column.name, change)))
    yield from _swaps(table, columns)
    yield Fault("rows twice", (), _written(lambda whole: pa.concat_tables([whole, whole.take(_some(len(whole)))])))
    yield Fault("file cut in the middle of a row", (), _cut)
    if definition.time is not None or definition.source.nightly:
        yield Fault("stale copy of yesterday", (), _written(lambda whole: whole), days=1)
    yield Fault("half of the rows gone", (), _written(lambda whole: whole.slice(0, len(whole) // 2)))


def _of_column(values: pa.ChunkedArray, kind: ColumnType, *, target: bool) -> Iterator[tuple[str, Callable[[pa.Array], pa.Array]]]:
    """Yield the faults of one column as functions of its values."""
    known = values.drop_null()
    if len(known) == 0:
        return
    if values.null_count < len(values) * (1 - 2 * SHARE):
        yield "missing values", lambda old: _with(old, pa.scalar(None, old.type))
    if pc.count_distinct(known).as_py() > 1:
        usual = known.value_counts().sort(order="descending", by="counts")[0]["values"]
        yield "constant", lambda old: pa.repeat(usual, len(old))
    if kind in ("integer", "number"):
        yield from _of_numbers(known, kind)
    elif kind == "date":
        yield "a month later", lambda old: pc.add(old, pa.scalar(MONTH, pa.duration("us")))
        if not target and _hours(known):
            yield "another time zone", lambda old: pc.add(old, pa.scalar(ZONE, pa.duration("us")))
    elif kind == "text":
        yield from _of_texts(known)


def _of_numbers(known: pa.ChunkedArray, kind: ColumnType) -> Iterator[tuple[str, Callable[[pa.Array], pa.Array]]]:
    floats = pc.cast(known, pa.float64(), safe=False)
    if not pc.all(pc.equal(floats, 0.0)).as_py():
        yield "units × 1000", lambda old: _scaled(old, 1000.0)
        yield "units × 0.001", lambda old: _scaled(old, 0.001)
        yield "sign flipped", lambda old: _scaled(old, -1.0)
    yield "numbers as text", lambda old: pc.binary_join_element_wise(pc.cast(old, pa.string()), "units", " ")
    if kind == "number" and not pc.all(pc.equal(pc.floor(floats), floats)).as_py():
        yield "decimal comma read as thousands", _without_point


def _of_texts(known: pa.ChunkedArray) -> Iterator[tuple[str, Callable[[pa.Array], pa.Array]]]:
    if pc.count_distinct(known).as_py() <= CATEGORIES:
        yield "new category", lambda old: _with(old, pa.scalar("never seen before"))
    if pc.any(pc.match_substring_regex(known, "[A-Za-z]")).as_py():
        yield "mojibake", lambda old: pc.replace_substring_regex(old, "[aeiou]|[AEIOU]|[a-zA-Z]", "Ã©", max_replacements=1)
    yield "NaN as a text", lambda old: _with(old, pa.scalar("NaN"))


def _swaps(table: pa.Table, columns: Sequence[Column]) -> Iterator[Fault]:
    """Yield the exchange of each column with the next of its family that differs from it."""
    for families in (("integer", "number"), ("text",), ("boolean",), ("date",)):
        names = [column.name for column in columns if column.type in families]
        for one, other in itertools.pairwise(names):
            if not table[one].equals(table[other]):
                yield Fault("columns exchanged", (one, other), _written(_exchanging(one, other)))


def _exchanging(one: str, other: str) -> Change:
    return lambda whole: _put(_put(whole, one, whole[other]), other, whole[one])


def _replacing(name: str, change: Callable[[pa.Array], pa.Array]) -> Change:
    return lambda whole: _put(whole, name, change(whole[name].combine_chunks()))


def _put(whole: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return whole.set_column(whole.schema.get_field_index(name), name, values)


def _written(change: Change) -> Callable[[pa.Table, Path], Path]:
    def write(table: pa.Table, folder: Path) -> Path:
        path = folder / "night.parquet"
        pq.write_table(change(table), path)
        return path
    return write


def _cut(table: pa.Table, folder: Path) -> Path:
    """Write a CSV file whose last row ends in its second field."""
    path = folder / "night.csv"
    pyarrow.csv.write_csv(table, path)
    lines = path.read_bytes().splitlines(keepends=True)
    half = b"".join(lines[: len(lines) // 2])
    path.write_bytes(half + lines[len(lines) // 2].partition(b",")[0])
    return path


def _some(rows: int) -> NDArray[np.int64]:
    """Return one row of twenty, spread over the table."""
    return np.arange(0, rows, round(1 / SHARE))


def _with(old: pa.Array, value: pa.Scalar) -> pa.Array:
    """Put a value into one row of twenty."""
    hit = np.zeros(len(old), bool)
    hit[_some(len(old))] = True
    return pc.if_else(pa.array(hit), value, old)


def _scaled(old: pa.Array, factor: float) -> pa.Array:
    scaled = pc.multiply(pc.cast(old, pa.float64(), safe=False), factor)
    whole = pa.types.is_integer(old.type) and float(factor).is_integer()
    return pc.cast(scaled, pa.int64(), safe=False) if whole else scaled


def _without_point(old: pa.Array) -> pa.Array:
    """Read `12.5` as `125`, as a reader does that takes the point for a separator of thousands."""
    return pa.array([None if value is None else float(re.sub(r"[.]", "", repr(value)) if "e" not in repr(value) else value)
                     for value in old.to_pylist()], pa.float64())


def _hours(known: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.not_equal(pc.hour(known), 0)).as_py())
