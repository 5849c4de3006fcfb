"""Inferring contracts from data: tight enough to catch real faults, loose enough to let the next clean night pass.

Every limit is what the smallest night that the contract must let pass could show by chance, `DEVIATIONS` standard
deviations away, and never nearer than a floor below which a change does not matter. Exact minima, maxima and sets of
categories stop a third to nine tenths of clean nights and are never written.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.datasets import GROUP, ROW, Column
from nightgate.definition.model import Definition

SMALLEST_NIGHT = 500
"""Rows of a night that must pass when nothing is wrong."""

DEVIATIONS = 5.0
"""Two-sided chance of 6e-7 a check: a thousand checks a night stop a clean night about once in five years."""

MISSING_FLOOR = 0.01
OUTSIDE_FLOOR = 0.01
NEW_FLOOR = 0.01
QUANTILES = (0.1, 0.5, 0.9)
QUANTILE_FLOOR = 0.10
MOST_CATEGORIES = 60
SAMPLE = 200_000
PAIR_ROWS = 500
MOST_PAIRS = 10
PAIR_COLUMNS = 40
ASCII = "^[ -~]*$"
VERSION = "1.24.1"
"""Great Expectations whose JSON this is."""


def infer_raw(path: Path, definition: Definition, columns: Sequence[Column]) -> dict[str, Any]:
    """Infer the contract of a snapshot. `columns` are its columns; their types are kept in the suite's meta."""
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        step = max(rows // SAMPLE, 1)
        table = file.read().take(np.arange(0, rows, step)) if step > 1 else file.read()
    found = [*_table(columns, definition), *_keys(definition, table)]
    for column in columns:
        if column.name not in definition.entity:
            found += _column(table[column.name], column, definition)
    found += _pairs(table, columns, definition)
    # A column without a value says nothing of its type yet: pinned as text it would turn later numbers into text.
    meta = {"columns": {column.name: column.type for column in columns if table[column.name].null_count < len(table)},
            "rows": rows, "nights": 1, "quarantine": 0.0}
    return _suite(definition, "raw", found, meta)


def infer_features(path: Path, definition: Definition, columns: Sequence[Column]) -> dict[str, Any]:
    """Infer the contract of a feature table: its columns, its identities, a known target, no infinite number."""
    table = pq.read_table(path)
    found = [*_table(columns, definition),
             _expect("expect_column_values_to_not_be_null", {"column": definition.target}, "Every row has its target.", {}),
             _expect("expect_column_values_to_not_be_null", {"column": ROW}, "Every row has its identity.", {}),
             _expect("expect_column_values_to_not_be_null", {"column": GROUP}, "Every row has its group.", {})]
    for column in columns:
        if column.type == "number" and column.name not in definition.not_features:
            values = _numbers(table[column.name])
            if len(values) and np.isfinite(values).all():
                found.append(_expect("expect_column_values_to_be_between",
                                     {"column": column.name, "min_value": -1.7e308, "max_value": 1.7e308},
                                     "No infinite value: a ratio has a denominator.", {"seen": "no infinite value"}))
    return _suite(definition, "features", found, {})


def infer_predictions(definition: Definition, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Write the contract of predictions on the hold-out: known, in range, not all the same."""
    if definition.task == "regression":
        names, bounds = ["prediction"], None
    else:
        names = ["probability"] if definition.task == "binary" else [f"probability_{label}" for label in classes]
        bounds = {"min_value": 0.0, "max_value": 1.0}
    found = [_rows()]
    for name in names:
        found.append(_expect("expect_column_values_to_not_be_null", {"column": name}, "Every row is predicted.", {}))
        if bounds is not None:
            found.append(_expect("expect_column_values_to_be_between", {"column": name, **bounds}, "A probability.", {}))
        found.append(_expect("expect_column_unique_value_count_to_be_between", {"column": name, "min_value": 2},
                             "A model that says the same of every row has learnt nothing.", {}))
    return _suite(definition, "predictions", found, {})


def infer_metrics(definition: Definition) -> dict[str, Any]:
    """Write the contract of the figures on the hold-out: there, and possible. Raise the bounds to what the model is worth."""
    metric = definition.metric
    bounds: dict[str, Any] = {"min_value": 0.0} if metric in ("log_loss", "rmse", "mae") else {"max_value": 1.0}
    if metric in ("auc", "average_precision", "brier", "accuracy", "f1", "balanced_accuracy"):
        bounds = {"min_value": 0.0, "max_value": 1.0}
    note = f"Write here what {metric} is needed at least; the decision itself compares with champion and baseline."
    found = [_rows(), _expect("expect_column_values_to_not_be_null", {"column": metric}, "The figure could be computed.", {}),
             _expect("expect_column_values_to_be_between", {"column": metric, **bounds}, note, {})]
    if definition.task != "regression":
        found.append(_expect("expect_column_values_to_be_between", {"column": "calibration_error", "max_value": 0.5},
                             "Probabilities are not off by half on average.", {}))
    return _suite(definition, "metrics", found, {})


def _table(columns: Sequence[Column], definition: Definition) -> list[dict[str, Any]]:
    names = [column.name for column in columns if column.name not in definition.columns.exclude]
    return [_rows(), _expect("expect_table_columns_to_match_set", {"column_set": names, "exact_match": False},
                             "Every column that the model uses is there; new ones do no harm.", {})]


def _rows() -> dict[str, Any]:
    return _expect("expect_table_row_count_to_be_between", {"min_value": 1}, "There is at least one row.", {})


def _keys(definition: Definition, table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield that an entity has one row, or one at a time, where it is so."""
    names = [*definition.entity, *([definition.time] if definition.time else [])]
    if not definition.entity or table.num_rows < 2:
        return
    for name in names:
        yield _expect("expect_column_values_to_not_be_null", {"column": name}, "A row says what it is about.", {})
    if len(names) == 1:
        yield _expect("expect_column_values_to_be_unique", {"column": names[0]}, "One row an entity.", {})
    else:
        yield _expect("expect_compound_columns_to_be_unique", {"column_list": names}, "One row an entity and time.", {})


def _column(values: pa.ChunkedArray, column: Column, definition: Definition) -> Iterator[dict[str, Any]]:
    """Yield at most three rules of one column."""
    name, rows = column.name, len(values)
    if name in definition.columns.exclude or rows == 0:
        return
    missing = values.null_count / rows
    if name == definition.target:
        yield _expect("expect_column_values_to_not_be_null", {"column": name}, "Every row has its target.", {})
    elif missing < 0.9 and (mostly := 1 - _upper(missing, MISSING_FLOOR)) > 0:
        yield _expect("expect_column_values_to_not_be_null", {"column": name, "mostly": mostly},
                      f"Missing in {missing:.2%} of {rows:,} rows.", {"missing": missing, "rows": rows})
    known = values.drop_null()
    if len(known) < 2 or name == definition.time:
        return
    if column.type in ("integer", "number"):
        yield from _number_rules(_numbers(known), column)
    elif column.type in ("text", "boolean"):
        yield from _text_rules(known, column)


def _number_rules(values: NDArray[np.float64], column: Column) -> Iterator[dict[str, Any]]:
    values = np.sort(values[np.isfinite(values)])
    if len(values) < 2 or values[0] == values[-1]:
        return
    low, high = float(values[0]), float(values[-1])
    spread = (high - low) / 10
    low, high = (0.0 if 0 <= low <= spread else low - spread), high + spread
    whole = column.type == "integer"
    yield _expect("expect_column_values_to_be_between",
                  {"column": column.name, "min_value": math.floor(low) if whole else _outward(low, up=False),
                   "max_value": math.ceil(high) if whole else _outward(high, up=True), "mostly": 1 - OUTSIDE_FLOOR},
                  f"Seen from {values[0]:g} to {values[-1]:g}; a tenth of the range is added.",
                  {"least": float(values[0]), "most": float(values[-1]), "rows": len(values)})
    if len(values) < 50:
        return
    ranges = [[_outward(_at(values, quantile - _slack(quantile)), up=False),
               _outward(_at(values, quantile + _slack(quantile)), up=True)]
              for quantile in QUANTILES]
    yield _expect("expect_column_quantile_values_to_be_between",
                  {"column": column.name, "quantile_ranges": {"quantiles": list(QUANTILES), "value_ranges": ranges}},
                  f"Where a tenth, half and nine tenths of the values lie, as far as {SMALLEST_NIGHT} rows can tell.",
                  {"quantiles": [float(_at(values, quantile)) for quantile in QUANTILES]})


def _text_rules(values: pa.ChunkedArray, column: Column) -> Iterator[dict[str, Any]]:
    counted = pc.value_counts(pc.cast(values, pa.string()) if column.type == "text" else values).to_pylist()
    counts = {each["values"]: each["counts"] for each in counted}
    rows = len(values)
    if len(counts) <= MOST_CATEGORIES and len(counts) < rows / 3:
        # Good (1953): the share of what has not been seen yet is that of what was seen once.
        unseen = sum(count == 1 for count in counts.values()) / rows
        ordered = sorted(counts, key=lambda value: (-counts[value], str(value)))
        yield _expect("expect_column_values_to_be_in_set",
                      {"column": column.name, "value_set": ordered, "mostly": 1 - _upper(unseen, NEW_FLOOR)},
                      f"{len(counts)} values in {rows:,} rows; a few new ones may come.", {"unseen": unseen, "rows": rows})
        if len(counts) > 1 and max(counts.values()) < 0.95 * rows:
            yield _expect("expect_column_unique_value_count_to_be_between", {"column": column.name, "min_value": 2},
                          "It is not the same in every row.", {"values": len(counts)})
        return
    if column.type == "boolean":
        return
    texts = pc.cast(values, pa.string())
    lengths = _numbers(pc.utf8_length(texts))
    low, high = int(lengths.min()), int(lengths.max())
    spread = max(math.ceil((high - low) / 4), 0 if high == low else 1)
    yield _expect("expect_column_value_lengths_to_be_between",
                  {"column": column.name, "min_value": max(low - spread, 0), "max_value": high + spread, "mostly": 1 - OUTSIDE_FLOOR},
                  f"Seen with {low} to {high} characters.", {"least": low, "most": high})
    if pc.all(pc.match_substring_regex(texts, ASCII)).as_py():
        yield _expect("expect_column_values_to_match_regex", {"column": column.name, "regex": ASCII, "mostly": 1 - OUTSIDE_FLOOR},
                      "Letters, digits and signs of ASCII only: others would be damaged text.", {"rows": rows})


def _pairs(table: pa.Table, columns: Sequence[Column], definition: Definition) -> Iterator[dict[str, Any]]:
    """Yield that one number is never below another, where that holds without exception and says something."""
    names = [column.name for column in columns if column.type in ("integer", "number")
             and column.name not in (*definition.columns.exclude, *definition.entity, definition.target)][:PAIR_COLUMNS]
    if table.num_rows < PAIR_ROWS:
        return
    values = {name: pc.cast(table[name], pa.float64()).to_numpy() for name in names}
    found = []
    for first in names:
        for second in names:
            if first == second:
                continue
            known = np.isfinite(values[first]) & np.isfinite(values[second])
            a, b = values[first][known], values[second][known]
            if len(a) < PAIR_ROWS or not (a >= b).all() or a.min() >= b.max() or (a > b).mean() < 0.5:
                continue
            # Chance alone would keep independent columns in this order in so many rows only if they hardly overlap.
            overlap = float(np.mean(a < np.median(b)) + np.mean(b > np.median(a)))
            if overlap > 0.02:
                found.append((-overlap, first, second, len(a)))
    for _, first, second, rows in sorted(found)[:MOST_PAIRS]:
        yield _expect("expect_column_pair_values_a_to_be_greater_than_b",
                      {"column_A": first, "column_B": second, "or_equal": True, "mostly": 1 - OUTSIDE_FLOOR},
                      f"So in all {rows:,} rows: they are not exchanged.", {"rows": rows})


def _upper(share: float, floor: float) -> float:
    """Return the share that chance may show in the smallest night."""
    deviation = math.sqrt(max(share * (1 - share), 1e-12) / SMALLEST_NIGHT)
    return round(min(max(share + DEVIATIONS * deviation, share + floor, floor), 1.0), 4)


def _slack(quantile: float) -> float:
    deviation = math.sqrt(quantile * (1 - quantile) / SMALLEST_NIGHT)
    return min(max(DEVIATIONS * deviation, QUANTILE_FLOOR if quantile == 0.5 else 0.0), 0.499)


def _at(values: NDArray[np.float64], quantile: float) -> float:
    """Return an order statistic; beyond the ends the ends with a tenth of the range, since nothing is known there."""
    spread = (values[-1] - values[0]) / 10
    if quantile <= 0:
        return float(values[0] - spread)
    if quantile >= 1:
        return float(values[-1] + spread)
    return float(values[min(int(quantile * len(values)), len(values) - 1)])


def _outward(value: float, *, up: bool) -> float:
    """Keep six digits that count, since a person reads them; never nearer to the data than they were."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    return float(f"{(math.ceil if up else math.floor)(value / step) * step:.6g}")


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy())


def _expect(kind: str, arguments: dict[str, Any], notes: str, evidence: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "kwargs": arguments, "notes": notes, "severity": "critical", "meta": {"nightgate": evidence}}


def _suite(definition: Definition, boundary: str, expectations: list[dict[str, Any]], own: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"{definition.name}.{boundary}", "expectations": expectations,
            "meta": {"great_expectations_version": VERSION, "nightgate": own}}
