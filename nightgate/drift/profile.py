"""The profile of a table for drift: a sketch of each column, from one scan that keeps no row, whole or by stretches of time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nightgate.ahead import ahead
from nightgate.drift.sketches import Axis, Categories, Numbers, Sketch, axis_of, count, merge
from nightgate.errors import DataUnusable
from nightgate.sources.files import row_numbers
from nightgate.wording import named

BATCH = 131_072
"""Rows counted at once: a column of them stays in the processor's cache."""

WAITING = 32
"""Sketches of a column that wait to be added up; more would take memory."""

SAMPLE_GROUPS = 8
NO_TIME = np.iinfo(np.int64).min
"""The stretch of rows that have no time."""

Every = Literal["day", "week", "month"]
_UNITS: Mapping[Every, tuple[str, int]] = {"day": ("D", 1), "week": ("D", 7), "month": ("M", 1)}


@dataclass(frozen=True)
class Profile:
    """What was counted of a table."""

    rows: int
    columns: Mapping[str, Sketch]

    def __add__(self, other: "Profile") -> "Profile":
        return total([self, other])


def total(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all tables together; a column that some of them lack is missing in their rows."""
    parts = list(profiles)
    names = dict.fromkeys(chain.from_iterable(each.columns for each in parts))
    rows = sum(each.rows for each in parts)
    return Profile(rows, {name: merge(each.columns.get(name) or Categories({}, None, each.rows) for each in parts if name in each.columns
                                      or each.rows) for name in names})


@dataclass(frozen=True)
class Source:
    """A table to be scanned: batches that can be read again, and a sample from all over it."""

    batches: Callable[[], Iterator[pa.RecordBatch]]
    sample: Callable[[], pa.Table]


def of_table(table: pa.Table) -> Source:
    return Source(lambda: iter(table.to_batches(BATCH)), lambda: table)


def of_frame(frame: Any) -> Source:
    """Return a pandas frame as a source; values of several kinds in one column count as texts."""
    return of_table(_arrow(frame))


def of_file(path: Path) -> Source:
    """Return a Parquet or CSV file as a source. Raises DataUnusable."""
    try:
        if path.suffix.lower() not in (".parquet", ".pq"):
            from nightgate.contracts.textfiles import read_table

            return of_table(read_table(path))
        with pq.ParquetFile(path) as file:
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
            groups = file.num_row_groups
            twice = [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]
    except (ValueError, OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    if twice:
        raise DataUnusable(f"{path.name} has several columns {named(twice)}.", remedy="Give each column a name of its own.")
    return Source(lambda: _batches(path, texts, None), lambda: _sampled(path, groups))


def axes_of(source: Source, *, leave_out: Iterable[str] = ()) -> dict[str, Axis]:
    """Return how a reference's columns are counted."""
    sample, hidden = source.sample(), frozenset(leave_out)
    return {name: axis_of(sample[name].combine_chunks() if sample.num_rows else pa.array([], sample.schema.field(name).type))
            for name in sample.column_names if name not in hidden}


def scan(source: Source, axes: Mapping[str, Axis], *, time: str | None = None, every: Every = "day",
         leave_out: Iterable[str] = ()) -> dict[int, Profile]:
    """Return the profile of each stretch of time by its number, ascending; of a table without `time`, of the whole as 0.

    Columns that `axes` do not know are counted as categories, so that they can be told. Raises DataUnusable.
    """
    hidden = {*leave_out, *([time] if time else [])}
    parts: dict[int, _Sum] = {}
    for batch in source.batches():
        for number, rows in _stretches(batch, time, every):
            parts.setdefault(number, _Sum()).add(rows, axes, hidden)
    if parts.keys() == {NO_TIME}:
        raise DataUnusable(f"No value of `{time}` tells a time.", remedy="Name a column of dates, such as 2026-11-20.")
    return {number: parts[number].profile() for number in sorted(parts)} or {0: Profile(0, {})}


class _Sum:
    """Sketches of one stretch, added up as they come."""

    def __init__(self) -> None:
        self.rows = 0
        self.waiting: dict[str, list[Sketch]] = {}

    def add(self, batch: pa.RecordBatch, axes: Mapping[str, Axis], hidden: set[str]) -> None:
        self.rows += batch.num_rows
        for place, name in enumerate(batch.schema.names):
            if name not in hidden:
                sketches = self.waiting.setdefault(name, [])
                sketches.append(count(batch.column(place), axes.get(name) or Axis("category")))
                if len(sketches) > WAITING:
                    self.waiting[name] = [merge(sketches)]

    def profile(self) -> Profile:
        return Profile(self.rows, {name: merge(sketches) for name, sketches in self.waiting.items()})


def _stretches(batch: pa.RecordBatch, time: str | None, every: Every) -> Iterator[tuple[int, pa.RecordBatch]]:
    if time is None:
        yield 0, batch
        return
    numbers = stretch_numbers(batch, time, every)
    if len(numbers) and numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
        yield int(numbers[0]), batch
        return
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order], append=NO_TIME - 1 if len(numbers) else [])) + 1
    ordered = batch.take(pa.array(order))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield int(numbers[order[start]]), ordered.slice(start, end - start)


def stretch_numbers(batch: pa.RecordBatch, time: str, every: Every) -> NDArray[np.int64]:
    """Return the number of each row's day, week or month; `NO_TIME` where it has no time. Raises DataUnusable."""
    if time not in batch.schema.names:
        raise DataUnusable(f"There is no column `{time}` to tell the time by.", remedy=f"There is {', '.join(batch.schema.names[:12])}.")
    column = batch.column(batch.schema.names.index(time))
    try:
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        moments = pc.cast(column, pa.timestamp("us"), safe=False) if not pa.types.is_timestamp(column.type) else column
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import pandas as pd

        moments = pa.array(pd.to_datetime(pd.Series(column.to_pylist()), errors="coerce", utc=True, format="mixed").dt.tz_localize(None))
    unit, length = _UNITS[every]
    whole = moments.to_numpy(zero_copy_only=False).astype(f"datetime64[{unit}]").astype(np.int64)
    return np.where(whole == NO_TIME, NO_TIME, (whole + 3 * (length == 7)) // length)


def _batches(path: Path, texts: Sequence[str], groups: Sequence[int] | None) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, pre_buffer=False, read_dictionary=list(texts)) as file:
            hidden = row_numbers(file.schema_arrow)
            yield from ahead(batch.drop_columns(hidden) for batch in file.iter_batches(BATCH, row_groups=groups))
    except (ValueError, OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _sampled(path: Path, groups: int) -> pa.Table:
    """Return the first batch of groups from all over a file: the first rows alone may be its oldest."""
    chosen = sorted({*np.linspace(0, max(groups - 1, 0), min(groups, SAMPLE_GROUPS)).astype(int).tolist()})
    parts = [next(_batches(path, (), [group]), None) for group in chosen]
    found = [each for each in parts if each is not None]
    schema = pq.read_schema(path)
    return pa.Table.from_batches(found) if found else schema.empty_table().drop_columns(row_numbers(schema))


def _arrow(frame: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        mixed = [name for name, kind in frame.dtypes.items() if str(kind) == "object"]
        return pa.Table.from_pandas(frame.assign(**{name: frame[name].astype("string") for name in mixed}), preserve_index=False)


def _unreadable(path: Path, error: Exception) -> DataUnusable:
    return DataUnusable(f"{path.name} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0][:200]}",
                        remedy="Look at the file.")


def as_json(sketch: Sketch) -> dict[str, Any]:
    """Return a sketch as `sketch_from` reads it."""
    if isinstance(sketch, Numbers):
        return {"bins": np.diff(sketch.bins.astype(int), prepend=0).tolist(), "counts": sketch.counts.tolist(), "missing": sketch.missing}
    return {"names": sketch.names, "buckets": None if sketch.buckets is None else sketch.buckets.tolist(), "missing": sketch.missing}


def sketch_from(value: Mapping[str, Any]) -> Sketch:
    if "bins" in value:
        return Numbers(np.cumsum(value["bins"]).astype(np.uint16), np.array(value["counts"], dtype=np.int64), value["missing"])
    return Categories(value["names"], None if value["buckets"] is None else np.array(value["buckets"], dtype=np.int64), value["missing"])
