"""Snapshots: what one run sees of a source, as one Parquet file named by its content.

A row is in the window when its event time is, and when it had arrived by the window's end. Naive times are taken in the
model's time zone, others are converted to it. Of rows about the same entity at the same event time (without event time
or entity: of identical rows) the newest arrival stays, else the last one read. Late are rows that last night's run
should have had and had not: their event day had ended by the end of its window, and they arrived after it. Rows are
stored by event time, then by a hash of what identifies them: the same rows give the same bytes in whatever order they
came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightgate.addresses import shown
from nightgate.datasets import Column, ColumnType, Dataset
from nightgate.definition.model import Definition
from nightgate.errors import DataUnusable
from nightgate.hashing import row_hashes
from nightgate.privacy import masking_key, shielded
from nightgate.schedules import Window, window_of
from nightgate.settings import Settings
from nightgate.sources import read_chunks
from nightgate.sources.types import Guess, Reading, declared, fitted, learn, misfits, settle, tidy
from nightgate.spool import MEMORY, Spool, working_folder
from nightgate.tablefiles import ROW_GROUP, TableFile
from nightgate.wording import meant

FOLDER = "snapshots"
UNTIMED = "no event time"
MOST_UNTIMED = 0.01
"""Share of rows that may have no event time; they are left out and counted."""

PASS_BYTES = 1 << 26
"""Bytes of rows that are brought in order at a time."""


@dataclass(frozen=True)
class Snapshot:
    """One run's data and how they came to be; `read = dataset.rows + duplicates + sum(dropped.values())`."""

    dataset: Dataset
    source: str
    start: str | None
    end: str
    read: int
    late: int
    duplicates: int
    dropped: dict[str, int]
    missing: dict[str, int]
    constant: tuple[str, ...]
    first: str | None = None
    last: str | None = None


@dataclass
class Tally:
    """What was counted while reading."""

    read: int = 0
    late: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    misfits: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: dict[str, ColumnType] = field(default_factory=dict)
    types: dict[str, ColumnType] = field(default_factory=dict)

    def drop(self, why: str, rows: int) -> None:
        if rows:
            self.dropped[why] = self.dropped.get(why, 0) + rows


def reading_of(definition: Definition) -> Reading:
    """Return how the definition wants text to be read."""
    source = definition.source
    return Reading(source.decimal, source.missing, ZoneInfo(definition.schedule.timezone))


def collect(definition: Definition, settings: Settings, *, as_of: date,
            types: Mapping[str, ColumnType] | None = None, memory: int = MEMORY) -> Snapshot:
    """Read a model's source as of a date, shield what is private and store what is in the window.

    `types` pins column types; others are decided from all rows. Beyond `memory` bytes rows wait on disk. Raises
    DataUnusable when columns are missing, values do not fit their type or no row is left; StoreError when the store or
    the key file cannot be used; and what `read_chunks` raises. Nothing is left behind then.
    """
    window, tally, reading = window_of(definition, as_of), Tally(types=dict(types or {})), reading_of(definition)
    with working_folder(settings.store) as folder:
        spool = Spool(folder, memory=memory)
        read_window(definition, settings, window, tally, spool)
        _refuse_untimed(definition, tally)
        _fit(definition, tally, spool, reading)
        order, duplicates = _chosen(definition, spool)
        columns = tuple(Column(name, tally.types[name]) for name in spool[0].column_names)
        stored = _stored(spool, order, columns, folder / "snapshot.parquet", min(memory, PASS_BYTES))
        uri, sha256 = settings.store.put_file(stored.path, folder=FOLDER, suffix=".parquet")
    span = stored.spans.get(definition.time or "", (None, None))
    snapshot = Snapshot(
        Dataset(uri, sha256, len(order), columns), shown(definition.source.data),
        None if window.start is None else window.start.isoformat(), window.end.isoformat(),
        tally.read, tally.late, duplicates, tally.dropped, stored.missing, stored.constant, *span)
    sidecar = f"{FOLDER}/{sha256}.json"
    if not settings.store.exists(sidecar):
        settings.store.write_json(sidecar, snapshot)
    return snapshot


def _refuse_untimed(definition: Definition, tally: Tally) -> None:
    """Raise DataUnusable when more rows have no event time than the odd one: left out silently, they would be lost."""
    untimed = tally.dropped.get(UNTIMED, 0)
    if untimed > max(MOST_UNTIMED * tally.read, 1):
        raise DataUnusable(f"{untimed:,} of {tally.read:,} rows of {shown(definition.source.data)} have no event time `{definition.time}`.",
                           remedy="Mend the source, or leave these rows out of it: at most 1 % may have none.")


def read_window(definition: Definition, settings: Settings, window: Window, tally: Tally, spool: Spool) -> None:
    """Fill the spool with the window's rows, shielded; settle every column's type."""
    privacy, reading = definition.privacy, reading_of(definition)
    key = masking_key(settings, definition.name) if privacy.mask else b""
    # what the author declares wins over what was pinned before: it is how a type is changed for good
    stated: dict[str, ColumnType] = {
        **tally.types, **declared(definition.columns, definition.time, definition.source.arrived),
        **dict.fromkeys(privacy.mask, "text")}
    guesses: dict[str, Guess] = {}
    zone = reading.zone
    start = None if window.start is None else window.start.replace(tzinfo=zone)
    for chunk in read_chunks(definition.source, settings.root, start=start, end=window.end.replace(tzinfo=zone)):
        tally.read += chunk.num_rows
        _demand(definition, chunk.column_names)
        inside = _within(shielded(tidy(chunk, reading), privacy, key), definition, window, tally, reading)
        learn(guesses, inside, frozenset(stated), reading)
        if inside.num_rows:
            spool.append(inside)
    if not len(spool):
        _refuse_misfits(tally)
        raise _nothing_left(definition, window, tally)
    tally.types = settle(guesses, stated, definition.columns.numeric)


def _demand(definition: Definition, names: list[str]) -> None:
    """Raise DataUnusable for a column that the definition needs and the data lack."""
    roles = {definition.target: "the target", **dict.fromkeys(definition.entity, "the entity")}
    optional = ((definition.time, "the event time"), (definition.source.arrived, "the arrival"))
    roles |= {name: role for name, role in optional if name is not None}
    for name, role in roles.items():
        if name not in names:
            hint = meant(name, names) or f"There is {', '.join(names[:12])}{', …' * (len(names) > 12)}."
            place = shown(definition.source.data)
            raise DataUnusable(f"{place} has no column `{name}`, {role} of `{definition.name}`.",
                               remedy=f"{hint} Mend the source, or name another column.")


def _within(chunk: pa.Table, definition: Definition, window: Window, tally: Tally, reading: Reading) -> pa.Table:
    """Return the rows of the window, their event and arrival times as dates; count the others and the late ones."""
    moments = {}
    for name in (definition.time, definition.source.arrived):
        if name is not None:
            moments[name] = _fitted(chunk, name, "date", definition, tally, reading)
            chunk = chunk.set_column(chunk.column_names.index(name), name, moments[name])
    checks: list[tuple[str, pa.Array]] = []
    if definition.time is not None:
        event = moments[definition.time]
        checks = [(UNTIMED, pc.is_null(event)), ("after the window", pc.greater_equal(event, window.end))]
        if window.start is not None:
            checks.append(("before the window", pc.less(event, window.start)))
    if definition.source.arrived is not None:
        arrived = moments[definition.source.arrived]
        checks.append(("not arrived", pc.fill_null(pc.greater_equal(arrived, window.end), True)))
    keep = pa.array(np.ones(chunk.num_rows, bool))
    for why, out in checks:
        out = pc.and_(keep, pc.fill_null(out, False))
        tally.drop(why, pc.sum(out).as_py() or 0)
        keep = pc.and_not(keep, out)
    chunk = chunk.filter(keep) if pc.sum(keep).as_py() < chunk.num_rows else chunk
    if definition.time is not None and definition.source.arrived is not None:
        before = window.end - timedelta(days=1)
        late = pc.and_(pc.less(chunk[definition.time], before),
                       pc.greater_equal(chunk[definition.source.arrived], before))
        tally.late += pc.sum(late).as_py() or 0
    return chunk


def _fitted(chunk: pa.Table, name: str, family: ColumnType, definition: Definition, tally: Tally,
            reading: Reading) -> pa.Array:
    """Return a column as its type and count the values that do not fit, with an example where it may be shown."""
    array = chunk[name].combine_chunks()
    result = fitted(array, family, reading)
    lost = misfits(array, result, family)
    if len(lost):
        before, example = tally.misfits.get(name, (0, ""))
        private = definition.privacy.mask or definition.privacy.drop  # a row that is shifted puts their values anywhere
        example = example or ("one not shown" if private else repr(array[lost[0].as_py()].as_py())[:60])
        tally.misfits[name] = (before + len(lost), example)
        tally.asked.setdefault(name, family)
    return result


def _fit(definition: Definition, tally: Tally, spool: Spool, reading: Reading) -> None:
    """Turn every table of the spool into its types; raise DataUnusable for all values that do not fit at once."""
    names = spool[0].column_names
    for number in range(len(spool)):
        table = spool[number]
        arrays = [_fitted(table, name, tally.types[name], definition, tally, reading) for name in names]
        spool.replace(number, pa.table(arrays, names=names))
    _refuse_misfits(tally)


def _refuse_misfits(tally: Tally) -> None:
    if not tally.misfits:
        return
    found = [f"`{name}`: {count:,} of {tally.read:,} values are no {tally.asked[name]}, such as {example}"
             for name, (count, example) in sorted(tally.misfits.items())]
    more = f"; and {len(found) - 10} more columns" if len(found) > 10 else ""
    raise DataUnusable(f"Values that do not fit their column's type: {'; '.join(found[:10])}{more}.",
                       remedy="Mend the source; or name a spelling of a missing value in `missing` under [source], set "
                              "`decimal`, or declare the column under [columns] if its type has changed for good.",
                       details={"misfits": {name: count for name, (count, _) in tally.misfits.items()}})


def _nothing_left(definition: Definition, window: Window, tally: Tally) -> DataUnusable:
    why = ", ".join(f"{rows:,} {reason}" for reason, rows in tally.dropped.items()) or "none had arrived"
    span = f"from {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}" if window.start else f"before {window.end:%Y-%m-%d}"
    return DataUnusable(f"No row of {shown(definition.source.data)} is in the window {span}: of {tally.read:,} read, "
                        f"{why}.", remedy="Check the source, `time`, `[window] days` and the date given by --as-of.")


def _chosen(definition: Definition, spool: Spool) -> tuple[NDArray[np.int64], int]:
    """Return the numbers of the rows that stay, in the order of storing, and how many duplicates do not.

    Keeps 16 bytes of hash, an event and an arrival time per row, and no row.
    """
    time_name, arrived = definition.time, definition.source.arrived
    keyed = definition.entity if time_name is not None and definition.entity else spool[0].column_names
    high = np.concatenate([row_hashes(table.select(list(keyed)), 1) for table in spool])
    keys = [high] if time_name is None else [high, _instants(spool, time_name)]
    order = np.lexsort(keys)
    if not _same_as_next(keys, order).any():
        return order, 0
    low = np.concatenate([row_hashes(table.select(list(keyed)), 2) for table in spool])
    newest = [] if arrived is None else [_instants(spool, arrived)]
    order = np.lexsort([*newest, low, *keys])
    last = ~_same_as_next([low, *keys], order)
    return order[last], int(len(order) - last.sum())


def _instants(spool: Spool, name: str) -> NDArray[np.int64]:
    return np.concatenate([pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy() for table in spool])


def _same_as_next(keys: list[NDArray[Any]], order: NDArray[np.int64]) -> NDArray[np.bool_]:
    same = np.ones(max(0, len(order) - 1), bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[:-1] == ordered[1:]
    return np.append(same, False)


def _stored(spool: Spool, order: NDArray[np.int64], columns: tuple[Column, ...], path: Path,
            pass_bytes: int) -> TableFile:
    """Write the chosen rows in order; a table larger than memory takes several passes over the spool."""
    ends = np.cumsum([table.num_rows for table in spool])
    starts = np.append(0, ends[:-1])
    row_bytes = sum(table.nbytes for table in spool) // int(ends[-1]) + 1
    size = max(1, pass_bytes // (row_bytes * ROW_GROUP)) * ROW_GROUP
    with TableFile(path, columns) as file:
        for block in (order[first:first + size] for first in range(0, len(order), size)):
            pieces, places = [], []
            for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
                mine = np.flatnonzero((block >= start) & (block < end))
                if len(mine):
                    pieces.append(spool[number].take(pa.array(block[mine] - start)))
                    places.append(mine)
            table = pa.concat_tables(pieces).unify_dictionaries()
            back = np.argsort(np.concatenate(places), kind="stable")
            file.write(table.take(pa.array(back)) if len(pieces) > 1 else table)
    return file
