"""Inferring contracts from data: tight enough to catch real faults, loose enough to let the next clean night pass.

Every limit is one of `limits`, and never nearer than a floor below which a change does not matter. Exact minima, maxima and
sets of categories stop a third to nine tenths of clean nights and are never written. At most three rules a column: what is
missing, what a value may be, and how the values are spread.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.contracts.drifting import TO_BE_DECIDED, TO_BE_INSIGNIFICANT, TO_RAISE_NO_ALARM
from nightgate.contracts.freshness import freshness
from nightgate.contracts.limits import NEW, Limits
from nightgate.contracts.tables import determined, floats, keys, pairs, sums
from nightgate.contracts.texts import shape
from nightgate.contracts.writing import Expectation, expect, mostly, outward, suite
from nightgate.datasets import GROUP, ROW, Column
from nightgate.definition.model import Definition
from nightgate.prediction import CHANGE
from nightgate.wording import counted

MISSING_FLOOR = 0.01
OUTSIDE_FLOOR = 0.005
NEW_FLOOR = 0.005
QUANTILES = (0.1, 0.5, 0.9)
FEWEST = 50
"""Values from which their spread is described."""

CATEGORIES = {"text": 100, "integer": 12}
"""Different values up to which a column holds categories."""

MOST_SHARES = 12
DOMINANT = 0.8
"""Share of one value from which quantiles say nothing of the others."""

SURE = 4
"""Standard errors of a mean beyond which a change is none of chance."""

SAMPLE = 200_000
TAIL = "hypergeometric tail"
DERIVED = ("_hour", "_weekday", "_days", "_length", "_words", "_digits")
"""Endings of features made of dates and texts whose spread does not move with time; `_days` counts to the event."""


def infer_raw(path: Path, definition: Definition, columns: Sequence[Column], *, as_of: date,
              limits: Limits | None = None) -> dict[str, Any]:
    """Infer the contract of a snapshot as of a date. `columns` are its columns; their types are kept in the suite's meta.
    Without `limits` they follow from the owner's budget of false stops."""
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
        step = max(rows // SAMPLE, 1)
        table = file.read().take(np.arange(0, rows, step)) if step > 1 else file.read()
    used = [column for column in columns if column.name not in definition.columns.exclude]
    limits = limits or Limits.within(definition.gates.nightly, len(used))
    found = [_rows(), expect("expect_table_columns_to_match_set", {"column_set": [column.name for column in used], "exact_match": False},
                             "Every column that the model uses is there; new ones do no harm."), *keys(definition, table, used)]
    for column in used:
        if column.name not in definition.entity:
            found += _column(table[column.name], column, definition, limits)
        elif len(definition.entity) > 1 or definition.time is not None:  # its values may repeat
            found += _not_constant(column, _counts(table[column.name].drop_null()), limits)
        if column.name == definition.time:
            found += freshness(column.name, table[column.name], as_of, nightly=definition.gates.nightly)
    plain = [column for column in used if column.name not in (*definition.entity, definition.target)]
    totals = [*sums(table, plain)]
    found += [*(each for each in pairs(table, plain) if not _follows(each, totals)), *totals, *determined(table, plain, limits)]
    # A column without a value says nothing of its type yet: pinned as text it would turn later numbers into text.
    meta = {"columns": {column.name: column.type for column in columns if table[column.name].null_count < len(table)},
            "rows": rows, "nights": 1, "quarantine": 0.0}
    return suite(f"{definition.name}.raw", found, meta)


def _follows(pair: Expectation, totals: Sequence[Expectation]) -> bool:
    """Return whether the order of two columns follows from a total of both: `total = net + tax` says that it is not below either."""
    names = [f"`{pair['kwargs'][key]}`" for key in ("column_A", "column_B")]
    return any(all(name in total["kwargs"]["unexpected_rows_query"] for name in names) for total in totals)


def infer_features(path: Path, definition: Definition, columns: Sequence[Column], *, limits: Limits | None = None) -> dict[str, Any]:
    """Infer the contract of a feature table: its identities, a known target, no infinite number, what was derived in its range."""
    table = pq.read_table(path)
    limits = limits or Limits.within(definition.gates.nightly, len(columns))
    found = [_rows(), expect("expect_table_columns_to_match_set",
                             {"column_set": [column.name for column in columns], "exact_match": False}, "Every feature is there.")]
    found += [expect("expect_column_values_to_not_be_null", {"column": name}, note) for name, note in (
        (definition.target, "Every row has its target."), (ROW, "Every row has its identity."), (GROUP, "Every row has its group."))]
    for column in columns:
        if column.name in definition.not_features or column.name in (ROW, GROUP):
            continue
        if definition.features.own is not None or column.name.endswith(DERIVED):
            found += _column(table[column.name], column, definition, limits)
        elif column.type == "number":
            values = floats(table[column.name])
            if len(values) and np.isfinite(values).all():
                found.append(expect("expect_column_values_to_be_between",
                                    {"column": column.name, "min_value": -1.7e308, "max_value": 1.7e308},
                                    "No infinite value: a ratio has a denominator.", seen="no infinite value"))
    return suite(f"{definition.name}.features", found, {})


def infer_predictions(definition: Definition, target: NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    """Write the contract of predictions on the hold-out: known, in range, not all the same, on the whole as before.

    `target` and `classes` are those of the feature table.
    """
    if definition.task == "regression":
        values, bounds = {"prediction": target}, None
    else:
        named = {f"probability_{label}": target == place for place, label in enumerate(classes)}
        values = {"probability": target} if definition.task == "binary" else named
        bounds = {"min_value": 0.0, "max_value": 1.0}
    found = [_rows()]
    for name, true in values.items():
        found.append(expect("expect_column_values_to_not_be_null", {"column": name}, "Every row is predicted."))
        if bounds is not None:
            found.append(expect("expect_column_values_to_be_between", {"column": name, **bounds}, "A probability."))
        found.append(expect("expect_column_unique_value_count_to_be_between", {"column": name, "min_value": 2},
                            "A model that says the same of every row has learnt nothing."))
        found.append(_change(name, np.asarray(true, dtype=np.float64), definition))
    return suite(f"{definition.name}.predictions", found, {})


def _change(name: str, true: NDArray[np.float64], definition: Definition) -> Expectation:
    """Return the rule on how far predictions may move as a whole: half of the rarer outcome's share or of a standard deviation,
    and no less than what the hold-out can tell."""
    binary, deviation = definition.task != "regression", float(np.std(true))
    half = min(float(np.mean(true)), 1 - float(np.mean(true))) / 2 if binary else deviation / 2
    limit = outward(max(half, SURE * deviation / math.sqrt(max(len(true) * definition.training.holdout, 1))), up=True)
    note = (f"On the whole {'the share of this outcome' if binary else 'the prediction'} is what the champion's was when it was "
            "evaluated, or what came true before there was one.")
    return expect("expect_column_mean_to_be_between", {"column": CHANGE + name, "min_value": -limit, "max_value": limit}, note,
                  rows=len(true), mean=outward(float(np.mean(true)), up=True), formula=f"half, or {SURE} standard errors")


def infer_metrics(definition: Definition) -> dict[str, Any]:
    """Write the contract of the figures on the hold-out: there, and possible. Raise the bounds to what the model is worth."""
    metric = definition.metric
    bounds: dict[str, Any] = {"min_value": 0.0} if metric in ("log_loss", "rmse", "mae") else {"max_value": 1.0}
    if metric in ("auc", "average_precision", "brier", "accuracy", "f1", "balanced_accuracy"):
        bounds = {"min_value": 0.0, "max_value": 1.0}
    note = f"Write here what {metric} is needed at least; the decision itself compares with champion and baseline."
    found = [_rows(), expect("expect_column_values_to_not_be_null", {"column": metric}, "The figure could be computed."),
             expect("expect_column_values_to_be_between", {"column": metric, **bounds}, note)]
    if definition.task != "regression":
        found.append(expect("expect_column_values_to_be_between", {"column": "calibration_error", "max_value": 0.5},
                            "Probabilities are not off by half on average."))
    return suite(f"{definition.name}.metrics", found, {})


def drift_contract(name: str) -> dict[str, Any]:
    """Write the contract of the drift table, a row a monitored column: none raises an alarm. Others only warn."""
    alarm = "No column has changed beyond its limit; add a row_condition such as column != 'age' to spare one."
    found = [_rows(), expect(TO_RAISE_NO_ALARM, {}, alarm)]
    for kind, note in ((TO_BE_DECIDED, "Each column had enough rows to tell."),
                       (TO_BE_INSIGNIFICANT, "No change is significant, however small.")):
        found.append({**expect(kind, {}, note), "severity": "warning"})
    return suite(f"{name}.drift", found, {})


def _rows() -> Expectation:
    return expect("expect_table_row_count_to_be_between", {"min_value": 1}, "There is at least one row.")


def _column(values: pa.ChunkedArray, column: Column, definition: Definition, limits: Limits) -> Iterator[Expectation]:
    """Yield at most three rules of one column."""
    rows, missing = len(values), values.null_count
    if rows == 0:
        return
    if column.name == definition.target:
        yield expect("expect_column_values_to_not_be_null", {"column": column.name}, "Every row has its target.")
    elif column.name == definition.time:
        yield expect("expect_column_values_to_not_be_null", {"column": column.name}, "Every row says when it became true.")
    elif (allowed := limits.most(missing, rows, MISSING_FLOOR)) < 1:
        yield expect("expect_column_values_to_not_be_null", {"column": column.name, **mostly(allowed)},
                     f"Missing in {missing:,} of {rows:,} rows.", missing=missing, rows=rows, formula=TAIL)
    known = values.drop_null()
    if len(known) < 2:
        return
    counts = _counts(known)
    if column.type == "date":
        yield from _not_constant(column, counts, limits)
    elif column.type == "boolean" or (len(counts) <= CATEGORIES.get(column.type, 0) and len(counts) * 3 < len(known)):
        yield from _categories(column, counts, limits)
    elif column.type == "text":
        yield from _texts(column, counts, limits)
    else:
        yield from _amounts(floats(known), column, counts, limits)


def _counts(known: pa.ChunkedArray) -> dict[Any, int]:
    counted = pc.value_counts(known)
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _not_constant(column: Column, counts: dict[Any, int], limits: Limits) -> Iterator[Expectation]:
    rows, largest = sum(counts.values()), max(counts.values())
    if limits.certain(rows - largest, rows):
        yield expect("expect_column_unique_value_count_to_be_between", {"column": column.name, "min_value": 2},
                     "It is not the same in every row.", values=len(counts), rows=rows)


def _categories(column: Column, counts: dict[Any, int], limits: Limits) -> Iterator[Expectation]:
    rows, ordered = sum(counts.values()), sorted(counts, key=lambda value: (-counts[value], str(value)))
    if column.type != "boolean":
        # Good (1953): the share of what has not been seen yet is that of what was seen once.
        once = sum(count == 1 for count in counts.values())
        yield expect("expect_column_values_to_be_in_set",
                     {"column": column.name, "value_set": ordered, **mostly(limits.most(once, rows, NEW_FLOOR))},
                     f"{counted(len(counts), 'value')} in {counted(rows, 'row')}; a few new ones may come.", seen_once=once, rows=rows,
                     formula=f"{TAIL} of what was seen once (Good-Turing)")
    if not 1 < len(counts) <= MOST_SHARES:
        yield from _not_constant(column, counts, limits)
        return
    weights = [round(counts[value] / rows, 6) for value in ordered]
    yield expect("expect_column_kl_divergence_to_be_less_than",
                 {"column": column.name, "partition_object": {"values": ordered, "weights": [weight / sum(weights) for weight in weights]},
                  "threshold": limits.farthest(len(counts), rows), "tail_weight_holdout": NEW, "bucketize_data": False},
                 "The values keep their shares, as far as a small night can tell.", rows=rows,
                 formula="chi-squared limit of 2·n·distance (Wilks)")


def _texts(column: Column, counts: dict[Any, int], limits: Limits) -> Iterator[Expectation]:
    rows = sum(counts.values())
    found = shape(counts)
    if found is not None:
        allowed = limits.most(found.against, rows, OUTSIDE_FLOOR)
        yield expect(found.type, {"column": column.name, "regex": found.regex, **mostly(allowed)},
                     found.note, against=found.against, rows=rows, formula=TAIL)
    yield from _not_constant(column, counts, limits)


def _amounts(values: NDArray[np.float64], column: Column, counts: dict[Any, int], limits: Limits) -> Iterator[Expectation]:
    values = np.sort(values[np.isfinite(values)])
    rows = len(values)
    if rows < 2 or values[0] == values[-1]:
        return
    spread = (values[-1] - values[0]) / 10
    allowed = limits.most(0, rows, OUTSIDE_FLOOR, expected=True)
    low, high = float(0.0 if 0 <= values[0] <= spread else values[0] - spread), float(values[-1] + spread)
    whole = column.type == "integer"
    yield expect("expect_column_values_to_be_between",
                 {"column": column.name, "min_value": math.floor(low) if whole else outward(low, up=False),
                  "max_value": math.ceil(high) if whole else outward(high, up=True), **mostly(allowed)},
                 f"Seen from {values[0]:g} to {values[-1]:g}; a tenth of the range is added.",
                 least=float(values[0]), most=float(values[-1]), rows=rows, formula=TAIL)
    usual = max(counts, key=lambda value: counts[value])
    if usual == 0 and counts[usual] > DOMINANT * rows:
        yield from _mean(values, column, counts, limits)
    elif rows >= FEWEST:
        yield from _quantiles(values, column, limits)


def _mean(values: NDArray[np.float64], column: Column, counts: dict[Any, int], limits: Limits) -> Iterator[Expectation]:
    """Yield that a mostly empty column of amounts keeps a tenth of its mean; units, sign and constants show there."""
    rows = len(values)
    if values[0] == 0 and limits.certain(rows - counts.get(0, 0), int(1.4 * rows)):
        usual = float(np.minimum(values, np.quantile(values[values > 0], 0.9)).mean())  # without the few largest
        yield expect("expect_column_mean_to_be_between", {"column": column.name, "min_value": outward(usual / 10, up=False)},
                     f"The mean was {values.mean():g}, and most values are 0.", mean=float(values.mean()), rows=rows)
    else:
        yield from _not_constant(column, counts, limits)


def _quantiles(values: NDArray[np.float64], column: Column, limits: Limits) -> Iterator[Expectation]:
    ranges: list[list[float | None]] = []
    for quantile in QUANTILES:
        low, high = limits.ranks(len(values), quantile)
        ranges.append([None if low is None else outward(float(values[low]), up=False),
                       None if high is None else outward(float(values[high]), up=True)])
    told = [(quantile, pair) for quantile, pair in zip(QUANTILES, ranges, strict=True) if pair != [None, None]]
    if told:
        named = {"quantiles": [quantile for quantile, _ in told], "value_ranges": [pair for _, pair in told]}
        yield expect("expect_column_quantile_values_to_be_between", {"column": column.name, "quantile_ranges": named},
                     f"Where a tenth, half and nine tenths of the values lie, as far as {limits.night_of(len(values))} rows can tell.",
                     quantiles=[float(np.quantile(values, quantile)) for quantile in QUANTILES], rows=len(values),
                     formula="hypergeometric ranks")
