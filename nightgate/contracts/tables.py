"""Rules between columns that data keep without exception: keys, rows that are told apart, the order of two columns."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.contracts.texts import shape
from nightgate.contracts.writing import Expectation, expect
from nightgate.datasets import Column
from nightgate.definition.model import Definition

TWINS = 0.03
"""Share of rows that need not be different: 5 % of rows written twice make 9.5 %."""

FEW_TWINS = 0.001
MOST_TOGETHER = 4
PAIR_ROWS = 500
MOST_PAIRS = 10
PAIR_COLUMNS = 40
SWAPPED = 0.01


def keys(definition: Definition, table: pa.Table, columns: Sequence[Column]) -> Iterator[Expectation]:
    """Yield that an entity has one row, or one at a time, where it is so; else by which columns rows are told apart."""
    names = [*definition.entity, *([definition.time] if definition.time and definition.entity else [])]
    if table.num_rows < 2:
        return
    for name in definition.entity:
        yield expect("expect_column_values_to_not_be_null", {"column": name}, "A row says what it is about.")
        if pa.types.is_integer(table[name].type) and (pc.min(table[name]).as_py() or 0) >= 0:
            yield expect("expect_column_values_to_be_between", {"column": name, "min_value": 0}, "A number without a sign.")
        found = shape(dict.fromkeys(table[name].drop_null().to_pylist(), 1)) if pa.types.is_string(table[name].type) else None
        if found is not None and not found.against:
            yield expect(found.type, {"column": name, "regex": found.regex}, found.note)
    if len(names) == 1:
        yield expect("expect_column_values_to_be_unique", {"column": names[0]}, "One row an entity.")
    elif names:
        yield expect("expect_compound_columns_to_be_unique", {"column_list": names}, "One row an entity and time.")
    else:
        yield from _told_apart(table, columns)


def _told_apart(table: pa.Table, columns: Sequence[Column]) -> Iterator[Expectation]:
    """Yield the few columns in which hardly two rows are equal; the collector drops equal rows, other tables may hold them."""
    distinct = {column.name: pc.count_distinct(table[column.name], mode="all").as_py() for column in columns}
    for number in (*range(2, MOST_TOGETHER + 1), len(distinct)):
        names = sorted(distinct, key=lambda name: -distinct[name])[:number]
        groups = table.select(names).group_by(names, use_threads=False).aggregate([([], "count_all")])["count_all"]
        twins = int(pc.sum(pc.if_else(pc.greater(groups, 1), groups, 0)).as_py() or 0)
        if twins <= FEW_TWINS * table.num_rows:
            yield expect("expect_compound_columns_to_be_unique", {"column_list": names, "mostly": 1 - TWINS},
                         f"By these, rows are told apart: {twins:,} of {table.num_rows:,} were not.", twins=twins, rows=table.num_rows)
            return


def pairs(table: pa.Table, columns: Sequence[Column]) -> Iterator[Expectation]:
    """Yield that one column is never below another, where that holds without exception and says something."""
    if table.num_rows < PAIR_ROWS:
        return
    for kinds in (("integer", "number"), ("date",)):
        values = {column.name: floats(table[column.name]) for column in [each for each in columns if each.type in kinds][:PAIR_COLUMNS]}
        for _, first, second, rows in sorted(_ordered(values))[:MOST_PAIRS]:
            yield expect("expect_column_pair_values_a_to_be_greater_than_b",
                         {"column_A": first, "column_B": second, "or_equal": True, "ignore_row_if": "either_value_is_missing",
                          "mostly": 1 - SWAPPED}, f"So in all {rows:,} rows: they are not exchanged.", rows=rows)


def _ordered(values: dict[str, NDArray[np.float64]]) -> Iterator[tuple[float, str, str, int]]:
    """Yield pairs that keep their order in every row, those first whose ranges overlap most: there the order is no accident."""
    for first, second in ((one, other) for one in values for other in values if one != other):
        known = np.isfinite(values[first]) & np.isfinite(values[second])
        a, b = values[first][known], values[second][known]
        if len(a) < PAIR_ROWS or not (a >= b).all() or (a > b).mean() < 0.5:
            continue
        overlap = float(np.mean(a < np.median(b)) + np.mean(b > np.median(a)))
        if overlap > 0.02:
            yield -overlap, first, second, len(a)


def floats(values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers, or dates as microseconds, as floats; NaN where there is none."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        values = pc.cast(pc.cast(values, pa.timestamp("us")), pa.int64())
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy())
