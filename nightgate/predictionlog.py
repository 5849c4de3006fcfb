"""The prediction log: every answered request, first as a line of a segment, later as Parquet by day.

A service appends one line a request with one `writev` before it answers, so that a kill loses nothing that was acknowledged.
Each process has segments of its own (`nightgate.segments`), `predictionlog/<model>/<name>.jsonl`. `compact` turns those that nobody
holds into `predictionlog/<model>/day=<date>/<name>.parquet` of the store and removes them: killed in between, it does the same again.
A last line that is torn is left out and counted.

Columns of the Parquet files: `nightgate_at` (UTC), `nightgate_request`, `nightgate_row` (its place in the request),
`nightgate_version`, `nightgate_consumer`, `nightgate_role` (champion, canary or shadow); the row as it was sent, by the columns'
own names and types, masked ones as tokens; `prediction`, and `probability` or `probability_<class>`.

Beside answers stand counts, `nightgate_count`, of what is no answer: role `refused`, requests of one minute that were answered with
`nightgate_status` instead, role `torn`, lines that were left out, and, while it is read, `unreadable`, files that are none.
"""

import contextlib
import fcntl
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nightgate.segments import BEGUN, FOLDER
from nightgate.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

NO_ANSWERS = ("refused", "torn", "unreadable")
OF_OTHERS = ("nightgate_at", "nightgate_role", "nightgate_status", "nightgate_count")
READ, ROWS = 4 * 2**20, 65_536
"""Bytes of a segment, and rows of a file, that are read at once."""


@dataclass(frozen=True)
class Compacted:
    """What one call did: segments, the files they became, rows, lines that were torn."""

    segments: int
    files: tuple[str, ...]
    rows: int
    torn: int


def segments_of(settings: Settings, model: str) -> list[Path]:
    """Return a model's segments on this machine, oldest first."""
    return sorted((settings.store.folder(FOLDER) / model).glob("*.jsonl"))


def compact(settings: Settings, model: str) -> Compacted:
    """Turn the segments of a model that no service writes to any more into Parquet files by day."""
    import pyarrow.parquet as pq

    files: list[str] = []
    segments = rows = torn = 0
    for path in segments_of(settings, model):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:  # another compaction's, or a service's
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(file.fileno()).st_nlink:
                continue
            days, broken = _tables(file, {}, began=_began(path.stem))
            for day, table in days.items():
                buffer = io.BytesIO()
                pq.write_table(table, buffer)
                key = f"{FOLDER}/{model}/day={day}/{path.stem}.parquet"
                settings.store.write(key, buffer.getvalue())
                files.append(settings.store.address(key))
                rows += len(_answers(table))
            path.unlink()
            segments, torn = segments + 1, torn + broken
    return Compacted(segments, tuple(files), rows, torn)


@dataclass(frozen=True)
class Logged:
    """What a stretch of the log holds: answers, a row a prediction in the order of the files, and counts of what is none."""

    answers: "pa.Table"
    others: "pa.Table"

    def count(self, role: str, since: datetime | None = None) -> dict[int, int]:
        """Return how many there are of a role since a moment (UTC), by status, 0 where there is none."""
        found: Counter[int] = Counter()
        for each in self.others.to_pylist():
            if each["nightgate_role"] == role and (since is None or each["nightgate_at"] >= since):
                found[each.get("nightgate_status") or 0] += each["nightgate_count"]
        return dict(sorted(found.items()))


def predictions(settings: Settings, model: str, *, start: datetime, end: datetime) -> "pa.Table":
    """Return what was answered in `[start, end)` (UTC), a row a prediction, in the order of the files; no row where there is nothing."""
    return read(settings, model, start=start, end=end).answers


def read(settings: Settings, model: str, *, start: datetime, end: datetime) -> Logged:
    """Return what stands in the log of `[start, end)` (UTC)."""
    parts = [*scan(settings, model, start=start, end=end)]
    return Logged(together([each.answers for each in parts]), together([each.others for each in parts]))


def scan(settings: Settings, model: str, *, start: datetime, end: datetime) -> Iterator[Logged]:
    """Yield what stands in the log of `[start, end)` (UTC) part by part, of which one at a time is in memory."""
    import pyarrow.compute as pc

    naive = [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in (start, end)]
    for table in _parts(settings, model, naive[0].date(), naive[1].date()):
        at = table["nightgate_at"]
        inside = table.filter(pc.and_(pc.greater_equal(at, naive[0]), pc.less(at, naive[1])))
        if inside.num_rows:
            yield _split(inside)


def days(settings: Settings, model: str) -> set[date]:
    """Return the days that a model's log has, as the clocks of its services told them."""
    files = (_day(name) for name in settings.store.names(f"{FOLDER}/{model}"))
    return {*filter(None, files), *(_began(path.stem).date() for path in segments_of(settings, model))}


def together(tables: "Sequence[pa.Table]") -> "pa.Table":
    """Return parts of the log as one table; a column that has changed its type between versions becomes one of texts."""
    import pyarrow as pa

    if not tables:
        return pa.table({"nightgate_at": pa.array([], pa.timestamp("us"))})
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        kinds: dict[str, set[pa.DataType]] = {}
        for field in (field for table in tables for field in table.schema):
            kinds.setdefault(field.name, set()).add(field.type)
        return pa.concat_tables([table.cast(pa.schema([field if len(kinds[field.name]) == 1 else pa.field(field.name, pa.string())
                                                       for field in table.schema])) for table in tables], promote_options="permissive")


def _split(whole: "pa.Table") -> Logged:
    import pyarrow as pa
    import pyarrow.compute as pc

    others = whole.filter(pc.is_in(whole["nightgate_role"], pa.array(NO_ANSWERS)))
    return Logged(_answers(whole), others.select([name for name in OF_OTHERS if name in whole.column_names]))


def _answers(whole: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = whole.filter(pc.invert(pc.is_in(whole["nightgate_role"], pa.array(NO_ANSWERS))))
    return kept.drop_columns([name for name in ("nightgate_status", "nightgate_count") if name in kept.column_names])


def _parts(settings: Settings, model: str, first: date, last: date) -> "Iterator[pa.Table]":
    """Yield the log's files, then its segments. These are opened before: one that is compacted meanwhile is read once all the same."""
    with contextlib.ExitStack() as held:
        segments: dict[str, BinaryIO] = {}
        for path in segments_of(settings, model):
            try:
                segments[path.stem] = held.enter_context(path.open("rb"))
            except FileNotFoundError:  # compacted meanwhile
                continue
            except OSError:
                yield _unreadable(_began(path.stem))
        for day in settings.store.names(f"{FOLDER}/{model}"):
            if (when := _day(day)) is not None and first <= when <= last:
                for name in settings.store.names(f"{FOLDER}/{model}/{day}"):
                    if name.removesuffix(".parquet") not in segments:  # compacted, and killed before it was removed
                        yield from _of_file(settings.store.read(f"{FOLDER}/{model}/{day}/{name}"), when)
        for name, file in segments.items():
            yield from _of_segment(file, name)


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name.removeprefix("day="))
    except ValueError:
        return None


def _of_file(content: bytes, day: date) -> "Iterator[pa.Table]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        ours = "nightgate_role" in file.schema_arrow.names and file.schema_arrow.field("nightgate_at").type == pa.timestamp("us")
        for batch in file.iter_batches(ROWS) if ours else ():
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, KeyError):
        ours = False
    if not ours:
        yield _unreadable(datetime.combine(day, datetime.min.time()))


def _unreadable(at: datetime) -> "pa.Table":
    return _table([_lost("unreadable", at, 1)], {})


def _of_segment(file: BinaryIO, name: str) -> "Iterator[pa.Table]":
    raw: dict[int, dict[str, str]] = {}
    while lines := file.readlines(READ):
        yield from _tables(lines, raw, began=_began(name))[0].values()


def _tables(lines: Iterable[bytes], raw: dict[int, dict[str, str]], *, began: datetime) -> "tuple[dict[str, pa.Table], int]":
    """Return the rows of a segment by day, and how many lines are torn; `raw` is what its lines said about columns."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    torn, at = 0, began
    for line in lines:
        try:
            value = json.loads(line)
            if "raw" in value:
                raw[value["version"]] = dict(value["raw"])
                continue
            rows = [_refused(value)] if "refused" in value else list(_rows(value))
            at = rows[0]["nightgate_at"]
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError):
            torn += bool(line.strip())
            continue
        found.setdefault((at.date().isoformat(), rows[0]["nightgate_version"]), []).extend(rows)
    if torn:  # when they were written nobody knows: told with the last line that is whole
        found.setdefault((at.date().isoformat(), 0), []).append(_lost("torn", at, torn))
    days: dict[str, list[pa.Table]] = {}
    for (day, version), rows in found.items():
        days.setdefault(day, []).append(_table(rows, raw.get(version, {})))
    return {day: together(tables) for day, tables in days.items()}, torn


def _began(name: str) -> datetime:
    """Return when a segment was begun, as its name tells."""
    try:
        return datetime.strptime(name.partition("-")[0], BEGUN)
    except ValueError:
        return datetime.now(UTC).replace(tzinfo=None)


def _lost(role: str, at: datetime, count: int) -> dict[str, Any]:
    return {"nightgate_at": at, "nightgate_role": role, "nightgate_version": 0, "nightgate_count": count}


def _refused(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"nightgate_at": datetime.fromtimestamp(value["at"], UTC).replace(tzinfo=None), "nightgate_role": "refused",
            "nightgate_version": 0, "nightgate_status": int(value["status"]), "nightgate_count": int(value["refused"])}


def _rows(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    sent = value["sent"]
    if type(value["version"]) is not int or not all(isinstance(value[name], str) for name in ("request", "role", "consumer")):
        raise TypeError
    rows = sent["rows"] if set(sent) == {"rows"} and isinstance(sent["rows"], list) else [sent]
    for place, (row, answer) in enumerate(zip(rows, value["answers"], strict=True)):
        many = {f"probability_{name}": share for name, share in answer.pop("probabilities", {}).items()}
        yield {**row, **answer, **many, "nightgate_at": datetime.fromtimestamp(value["at"], UTC).replace(tzinfo=None),
               "nightgate_request": value["request"], "nightgate_row": place, "nightgate_version": value["version"],
               "nightgate_consumer": value["consumer"], "nightgate_role": value["role"]}


def _table(rows: list[dict[str, Any]], raw: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa

    types = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string(), "date": pa.string()}
    known = {"nightgate_at": pa.timestamp("us"), "nightgate_row": pa.int32(), "nightgate_version": pa.int64(),
             "nightgate_status": pa.int64(), "nightgate_count": pa.int64()}
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = _column([row.get(name) for row in rows], types.get(raw.get(name, ""), known.get(name)))
    return pa.table(columns)


def _column(values: list[Any], kind: "pa.DataType | None") -> "pa.Array":
    """Return values of a kind; of another one, which no door lets in, they are texts, so that nobody takes them for what they are not."""
    import pyarrow as pa

    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, UnicodeError):
        texts = [value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
        return pa.array([text if text is None else text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())
