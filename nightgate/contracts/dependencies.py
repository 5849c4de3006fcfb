"""Dependencies between columns that data keep without exception: a total of others, a category that another one determines."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.contracts.limits import Limits
from nightgate.contracts.tables import PAIR_COLUMNS, PAIR_ROWS, floats
from nightgate.contracts.writing import Expectation, expect, mostly
from nightgate.datasets import Column

SAMPLE = 5_000
"""Rows from which coefficients are found; they are then proved on all."""

NEAR = 1e-6
"""How far a coefficient may be from -1, 0 or 1."""

CENT = 0.005
"""What a total may differ by: half of the last digit of an amount of money."""

MOST_SUMS = 3
MOST_DETERMINED = 5
MOST_PAIRS = 60
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
    few = [name for name, count in distinct.items() if 2 <= count <= MOST_PAIRS and count * ROWS_A_VALUE <= len(table)]
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
                     f"{one} determines {other}: {len(pairs)} pairs came in {len(table):,} rows.", rows=len(table),
                     formula="hypergeometric tail")
        if len(told) >= MOST_DETERMINED:
            return
