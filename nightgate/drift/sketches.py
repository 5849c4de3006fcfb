"""Sketches: what is kept of a column for drift. They add up as data concatenate, whatever the order of the rows."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BINS = 1 << 16
"""Bins of numbers: the sign, the exponent and 7 bits of the mantissa of the centred, scaled float32."""

MOST_NAMES = 1_000
"""Categories counted by name; a column with more is counted in `BUCKETS` by a hash of its values."""

BUCKETS = 1_024
LONGEST_NAME = 80

KNOWN = "(known)"
"""The one value of columns that are not compared by value: dates always move, and lists have no order."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """How a column is counted; `centre` and `scale` are of numbers."""

    kind: Literal["number", "category", "other"]
    centre: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: `bins`, ascending, each with its `counts`; the first and the last hold infinities."""

    bins: NDArray[np.uint16]
    counts: Counts
    missing: int

    @cached_property
    def known(self) -> int:
        return int(self.counts.sum())

    @property
    def infinite(self) -> int:
        return int(self.counts[(self.bins == LEAST) | (self.bins == MOST)].sum())

    @cached_property
    def cumulative(self) -> NDArray[np.float64]:
        """The share of values up to each bin, (BINS + 1,), beginning with 0."""
        dense = np.zeros(BINS + 1)
        dense[self.bins.astype(np.int64) + 1] = self.counts
        return np.cumsum(dense) / max(self.known, 1)

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """Where the values of each bin stand among all of them, from 0 to 1, equals in their middle: (BINS,)."""
        return (self.cumulative[:-1] + self.cumulative[1:]) / 2


@dataclass(frozen=True)
class Categories:
    """A column of categories: counts by name, or of `BUCKETS` where there are more than `MOST_NAMES`."""

    names: Mapping[str, int] | None
    buckets: Counts | None
    missing: int

    @cached_property
    def known(self) -> int:
        return sum(self.names.values()) if self.names is not None else int(self._buckets.sum())

    @property
    def _buckets(self) -> Counts:
        assert self.buckets is not None
        return self.buckets

    def hashed(self) -> Counts:
        """Return the counts by bucket."""
        return self._buckets if self.names is None else _bucketed(self.names)


Sketch = Numbers | Categories

_RAW = np.arange(BINS)
_ORDER = np.where(_RAW < BINS // 2, _RAW + BINS // 2, BINS - 1 - _RAW)
"""Where the upper half of a float32's bits stands in the order of the numbers."""

INFINITE = 0x7F80
LEAST, MOST = int(_ORDER[INFINITE | 0x8000]), int(_ORDER[INFINITE])
_LARGEST = int(_ORDER[0x7F7F])
_ORDERED = np.argsort(_ORDER)


def count(array: pa.Array, axis: Axis) -> Sketch:
    """Count a column's values; texts that are no numbers, where numbers were, become categories."""
    if axis.kind == "number":
        values = _numbers(array)
        if values is not None:
            return _binned(values, axis)
    if axis.kind == "other" or not _is_plain(array.type):
        known = len(array) - array.null_count
        return Categories({KNOWN: known} if known else {}, None, array.null_count)
    return _named(array)


def merge(sketches: Iterable[Sketch]) -> Sketch:
    """Return the sketch of all rows together. Numbers beside categories have changed their type: all count as categories."""
    parts = list(sketches)
    missing = sum(each.missing for each in parts)
    numbers = [each for each in parts if isinstance(each, Numbers)]
    texts = [each for each in parts if isinstance(each, Categories) and (each.known or not numbers)]  # all missing is of any type
    if not texts:
        return _joined(numbers, missing)
    if numbers and (known := sum(each.known for each in numbers)):
        texts.append(Categories({"(a number)": known}, None, 0))
    if all(each.names is not None for each in texts):
        names: dict[str, int] = {}
        for each in texts:
            for name, rows in (each.names or {}).items():
                names[name] = names.get(name, 0) + rows
        return _whole(names, missing)
    return Categories(None, np.sum([each.hashed() for each in texts], axis=0), missing)


def axis_of(array: pa.Array) -> Axis:
    """Return how a reference column is counted, from a sample of it."""
    kind = array.type
    if not _is_plain(kind) or pa.types.is_temporal(kind):
        return Axis("other")
    if pa.types.is_boolean(kind) or (values := _numbers(array) if _is_number(kind) else None) is None:
        return Axis("category")
    values = values[np.isfinite(values)]
    if not len(values):
        return Axis("number")
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = float(high - low) or float(np.std(values / max(np.abs(values).max(), 1.0)) * max(np.abs(values).max(), 1.0))
    return Axis("number", float(centre), scale if np.isfinite(scale) and scale > 0 else abs(float(centre)) or 1.0)


def values_of(axis: Axis) -> NDArray[np.float64]:
    """Return the value that each bin of numbers stands for, (BINS,), ascending; infinite at the ends."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (_ORDERED.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return np.asarray(np.nan_to_num(scaled, nan=np.inf) * axis.scale + axis.centre)


def _is_plain(kind: pa.DataType) -> bool:
    return not pa.types.is_nested(kind)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _numbers(array: pa.Array) -> NDArray[np.float64] | None:
    """Return values as float64 with NaN for missing; None where they are no numbers."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not _is_number(array.type):
        try:
            array = pc.cast(array, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
    array = pc.cast(array, pa.float64(), safe=False)
    values = _plain(array)
    if not array.null_count:
        return values
    known = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")[array.offset:array.offset + len(array)]
    return np.where(known, values, np.nan)


def _plain(array: pa.Array) -> NDArray[Any]:
    """Return an array's numbers as they lie in memory, anything where missing. By `to_numpy` pyarrow would load pandas."""
    kind = array.type.to_pandas_dtype()
    return np.frombuffer(array.buffers()[1], kind)[array.offset:array.offset + len(array)] if len(array) else np.zeros(0, kind)


def _binned(values: NDArray[np.float64], axis: Axis) -> Numbers:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = ((values - axis.centre) * (1.0 / axis.scale)).astype("<f4")
    dense = np.bincount(scaled.view("<u2")[1::2], minlength=BINS)[_ORDERED]
    missing = int(dense[:LEAST].sum() + dense[MOST + 1:].sum())
    dense[:LEAST] = dense[MOST + 1:] = 0
    if dense[LEAST] or dense[MOST]:  # finite values beyond float32 are large, not infinite
        for place, sign, large in ((LEAST, -np.inf, BINS - 1 - _LARGEST), (MOST, np.inf, _LARGEST)):
            truly = int(np.sum(values == sign))
            dense[large] += dense[place] - truly
            dense[place] = truly
    bins = np.flatnonzero(dense)
    return Numbers(bins.astype(np.uint16), dense[bins], missing)


def _joined(parts: Sequence[Numbers], missing: int) -> Numbers:
    if len(parts) == 1 and parts[0].missing == missing:
        return parts[0]
    dense = np.zeros(BINS, dtype=np.int64)
    for each in parts:
        dense[each.bins] += each.counts
    bins = np.flatnonzero(dense)
    return Numbers(bins.astype(np.uint16), dense[bins], missing)


def _named(array: pa.Array) -> Categories:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    counts = np.bincount(_plain(encoded.indices.drop_null()), minlength=len(values))
    names: dict[str, int] = {}
    missing = encoded.indices.null_count
    for value, rows in zip(values, counts.tolist(), strict=True):
        if value is None or value != value:
            missing += rows
        elif rows:
            name = name_of(value)
            names[name] = names.get(name, 0) + rows
    return _whole(names, missing)


def name_of(value: Any) -> str:
    """Return a category's name: numbers as numbers, so that 0 and 0.0 are one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME - 10]}…{zlib.crc32(text.encode()):08x}"


def _whole(names: dict[str, int], missing: int) -> Categories:
    return Categories(names, None, missing) if len(names) <= MOST_NAMES else Categories(None, _bucketed(names), missing)


def _bucketed(names: Mapping[str, int]) -> Counts:
    places = np.fromiter((zlib.crc32(name.encode("utf-8", "surrogatepass")) % BUCKETS for name in names), np.int64, len(names))
    return np.bincount(places, np.fromiter(names.values(), np.float64, len(names)), BUCKETS).astype(np.int64)
