"""Rules between columns that data keep without exception: keys, rows that are told apart, the order of two columns, a total of
others, a category that another one determines."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.contracts.limits import Limits
from nightgate.contracts.texts import shape
from nightgate.contracts.writing import Expectation, expect, mostly
from nightgate.datasets import Column
from nightgate.definition.model import Definition
from nightgate.wording import counted

TWINS = 0.03
"""Share of rows that need not be different: 5 % of rows written twice make 9.5 %."""

FEW_TWINS = 0.001
MOST_TOGETHER = 4
PAIR_ROWS = 500
MOST_PAIRS = 60
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


SAMPLE = 5_000
"""Rows from which coefficients are found; they are then proved on all."""

NEAR = 1e-6
"""How far a coefficient may be from -1, 0 or 1."""

CENT = 0.005
"""What a total may differ by: half of the last digit of an amount of money."""

MOST_SUMS = 3
MOST_DETERMINED = 5
MOST_VALUES = 60
ROWS_A_VALUE = 20
"""Rows for each value of the determining column, on average, from which what it determines is no accident."""


def sums(table: pa.Table, columns: Sequence[Column]) -> Iterator[Expectation]:
    """Yield that a column is the sum or difference of others, where that holds in every row that has them all."""
    names = [column.name for column in columns if column.type in ("integer", "number")][:PAIR_COLUMNS]
    values = {name: floats(table[name]) for name in names}
    varied = [name for name in names if len(np.unique(values[name][:SAMPLE])) > 2]
    found: list[frozenset[str]] = []
    for total in sorted(varied, key=lambda name: -float(np.nanmax(np.abs(values[name])))):
        terms = _terms(total, [name for name in varied if name != total], values)
        columns_of = frozenset((total, *terms))
        if len(terms) < 2 or any(columns_of & each for each in found):
            continue
        found.append(columns_of)
        yield _sum(total, terms, len(table))
        if len(found) == MOST_SUMS:
            return


def _terms(total: str, others: Sequence[str], values: Mapping[str, NDArray[np.float64]]) -> dict[str, int]:
    """Return the signs of the columns whose sum a column is; empty when it is none in one row."""
    if not others:
        return {}
    y, x = values[total], np.column_stack([values[name] for name in others])
    whole = np.isfinite(y) & np.isfinite(x).all(axis=1)
    if whole.sum() < max(PAIR_ROWS, 10 * len(others)):
        return {}
    step = max(int(whole.sum()) // SAMPLE, 1)
    coefficients = np.linalg.lstsq(x[whole][::step], y[whole][::step], rcond=None)[0]
    signs = np.rint(coefficients)
    if np.abs(coefficients - signs).max() > NEAR or np.abs(signs).max() != 1:
        return {}
    chosen = signs != 0
    known = np.isfinite(y) & np.isfinite(x[:, chosen]).all(axis=1)
    if np.abs(y[known] - x[known][:, chosen] @ signs[chosen]).max() > CENT:
        return {}
    return {name: int(sign) for name, sign in zip(np.array(others)[chosen], signs[chosen], strict=True)}


def _sum(total: str, terms: Mapping[str, int], rows: int) -> Expectation:
    difference = f"`{total}`" + "".join(f" {'-' if sign > 0 else '+'} `{name}`" for name, sign in terms.items())
    told = " ".join(f"{'+' if sign > 0 else '-'} {name}" for name, sign in terms.items()).removeprefix("+ ")
    return expect("unexpected_rows_expectation",
                  {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {difference} > {CENT} OR {difference} < -{CENT}"},
                  f"{total} = {told} in every one of {rows:,} rows.", rows=rows, formula="least squares, proved on all rows")


def determined(table: pa.Table, columns: Sequence[Column], limits: Limits) -> Iterator[Expectation]:
    """Yield that a category determines another one, where every value came with one other value alone."""
    distinct = {column.name: pc.count_distinct(table[column.name]).as_py() for column in columns if column.type in ("text", "integer")}
    few = [name for name, count in distinct.items() if 2 <= count <= MOST_VALUES and count * ROWS_A_VALUE <= len(table)]
    told: set[str] = set()
    for one, other in itertools.permutations(sorted(few, key=lambda name: -distinct[name]), 2):
        if distinct[one] < max(distinct[other], 3) or other in told:
            continue
        pairs = table.select([one, other]).drop_null().group_by([one, other], use_threads=False).aggregate([])
        if len(pairs) != distinct[one]:
            continue
        told |= {other, one} if distinct[one] == distinct[other] else {other}
        yield expect("expect_column_pair_values_to_be_in_set",
                     {"column_A": one, "column_B": other, "ignore_row_if": "either_value_is_missing",
                      "value_pairs_set": sorted([list(pair.values()) for pair in pairs.to_pylist()], key=str),
                      **mostly(limits.most(0, len(table), CENT, expected=True))},
                     f"{one} determines {other}: {counted(len(pairs), 'pair')} came in {counted(len(table), 'row')}.", rows=len(table),
                     formula="hypergeometric tail")
        if len(told) >= MOST_DETERMINED:
            return
