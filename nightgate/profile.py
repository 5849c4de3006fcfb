"""The profile of a table: how many values each column has and where they lie, in one scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import identifier, literal
from nightgate.datasets import Column

COUNTED_ROWS = 100_000
"""Rows up to which different values are counted; beyond, that takes longer than all the rest."""


@dataclass(frozen=True)
class ColumnProfile:
    """One column. `distinct` is counted where it is `exact`, else estimated within a few percent; least, mean and most are of numbers
    and dates only."""

    name: str
    type: str
    rows: int
    missing: int
    distinct: int
    exact: bool
    least: float | str | None = None
    mean: float | None = None
    most: float | str | None = None


def profile(path: Path, columns: Sequence[Column], *, sensitive: frozenset[str] = frozenset()) -> list[ColumnProfile]:
    """Return the profile of a Parquet file's columns; of sensitive ones no value is told."""
    import duckdb
    import pyarrow.parquet as pq

    exact = pq.read_metadata(path).num_rows <= COUNTED_ROWS
    different = "count(DISTINCT {})" if exact else "approx_count_distinct({})"
    parts = ["count(*)"]
    for column in columns:
        name = identifier(column.name)
        parts += [f"count({name})", different.format(name)]
        ordered = column.type in ("integer", "number", "date") and column.name not in sensitive
        parts += [f"min({name})", f"max({name})"] if ordered else ["NULL", "NULL"]
        parts.append(f"avg({name})" if ordered and column.type != "date" else "NULL")
    with duckdb.connect() as connection:
        row = connection.execute(f"SELECT {', '.join(parts)} FROM read_parquet({literal(str(path))})").fetchall()[0]
    rows, found = int(row[0]), []
    for number, column in enumerate(columns):
        known, distinct, least, most, mean = row[1 + 5 * number:6 + 5 * number]
        found.append(ColumnProfile(column.name, column.type, rows, rows - int(known), min(int(distinct), int(known)), exact,
                                   _value(least), None if mean is None else float(mean), _value(most)))
    return found


def _value(value: Any) -> float | str | None:
    return value if value is None else float(value) if isinstance(value, int | float) else str(value)
