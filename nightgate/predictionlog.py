"""The prediction log: every answered request, first as a line of a segment, later as Parquet by day.

A service appends one line a request with one `writev` before it answers, so that a kill loses nothing that was acknowledged.
Each process has segments of its own, `predictionlog/<model>/<name>.jsonl`, which it holds locked; one that is full is followed
by the next. `compact` turns segments that nobody holds into `predictionlog/<model>/day=<date>/<name>.parquet` of the store and
removes them: killed in between, it does the same again. A last line that is torn is left out and counted.

Columns of the Parquet files: `nightgate_at` (UTC), `nightgate_request`, `nightgate_row` (its place in the request),
`nightgate_version`, `nightgate_consumer`, `nightgate_role` (champion, canary or shadow); the row as it was sent, by the columns'
own names and types, masked ones as tokens; `prediction`, and `probability` or `probability_<class>`.

Beside answers stand counts, `nightgate_count`, of what is no answer: role `refused`, requests of one minute that were answered with
`nightgate_status` instead, and role `torn`, lines that were left out.
"""

import contextlib
import fcntl
import io
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "predictionlog"
NO_ANSWERS = ("refused", "torn")
OF_OTHERS = ("nightgate_at", "nightgate_role", "nightgate_status", "nightgate_count")
LARGEST = 64 * 2**20
"""Bytes of a segment, after which the next is begun."""


class Segment:
    """The segment that one process appends to."""

    def __init__(self, folder: Path, *, largest: int = LARGEST) -> None:
        self.folder, self.largest = folder, largest
        self.descriptor, self.size, self.torn = -1, 0, False
        self.headers: set[int] = set()

    def refuse(self, minute: int, status: int, count: int) -> None:
        """Append how many requests of a minute were answered with a status that is no answer. Raises OSError."""
        if self.descriptor < 0 or self.size >= self.largest:
            self._begin()
        self._write([json.dumps({"at": minute * 60, "status": status, "refused": count}).encode(), b"\n"])

    def append(self, version: int, raw: Mapping[str, str], parts: Sequence[bytes]) -> None:
        """Append one line, whole or not at all; the first of a version says which columns its rows have. Raises OSError."""
        if self.descriptor < 0 or self.size >= self.largest:
            self._begin()
        if version not in self.headers:
            self._write([json.dumps({"version": version, "raw": dict(raw)}).encode(), b"\n"])
            self.headers.add(version)
        self._write(parts)

    def _write(self, parts: Sequence[bytes]) -> None:
        if self.torn:
            parts = [b"\n", *parts]
        wanted = sum(map(len, parts))
        self.torn = True
        if os.writev(self.descriptor, parts) != wanted:
            raise OSError(28, "No space left on device")
        self.torn = False
        self.size += wanted

    def _begin(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}.jsonl"
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        if not os.fstat(self.descriptor).st_nlink:  # compacted away before it was held
            self._begin()
            return
        self.size, self.torn = 0, False
        self.headers.clear()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


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
            days, broken = _tables(file)
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
    import pyarrow as pa
    import pyarrow.compute as pc

    naive = [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in (start, end)]
    tables = [*_parquet(settings, model, naive[0].date(), naive[1].date()), *_open(settings, model)]
    if not tables:
        nothing = pa.table({"nightgate_at": pa.array([], pa.timestamp("us"))})
        return Logged(nothing, nothing)
    whole = pa.concat_tables(tables, promote_options="permissive")
    at = whole["nightgate_at"]
    whole = whole.filter(pc.and_(pc.greater_equal(at, naive[0]), pc.less(at, naive[1])))
    others = whole.filter(pc.is_in(whole["nightgate_role"], pa.array(NO_ANSWERS)))
    return Logged(_answers(whole), others.select([name for name in OF_OTHERS if name in whole.column_names]))


def _answers(whole: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = whole.filter(pc.invert(pc.is_in(whole["nightgate_role"], pa.array(NO_ANSWERS))))
    return kept.drop_columns([name for name in ("nightgate_status", "nightgate_count") if name in kept.column_names])


def _parquet(settings: Settings, model: str, first: date, last: date) -> "Iterator[pa.Table]":
    import pyarrow.parquet as pq

    here = {path.stem for path in segments_of(settings, model)}  # compacted, and killed before it was removed
    for day in settings.store.names(f"{FOLDER}/{model}"):
        if not day.startswith("day=") or not first <= date.fromisoformat(day.removeprefix("day=")) <= last:
            continue
        for name in settings.store.names(f"{FOLDER}/{model}/{day}"):
            if name.removesuffix(".parquet") not in here:
                yield pq.ParquetFile(io.BytesIO(settings.store.read(f"{FOLDER}/{model}/{day}/{name}"))).read()


def _open(settings: Settings, model: str) -> "Iterator[pa.Table]":
    for path in segments_of(settings, model):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # compacted meanwhile
            yield from _tables(file)[0].values()


def _tables(lines: Iterable[bytes]) -> "tuple[dict[str, pa.Table], int]":
    """Return the rows of a segment by day, and how many lines are torn."""
    import pyarrow as pa

    raw: dict[int, dict[str, str]] = {}
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    torn, day = 0, ""
    for line in lines:
        try:
            value = json.loads(line)
            if "raw" in value:
                raw[value["version"]] = value["raw"]
                continue
            rows = [_refused(value)] if "refused" in value else list(_rows(value))
        except (ValueError, KeyError, TypeError):
            torn += bool(line.strip())
            continue
        day = rows[0]["nightgate_at"].date().isoformat()
        found.setdefault((day, rows[0]["nightgate_version"]), []).extend(rows)
    if torn and day:  # when they were written nobody knows: told with the last line that is whole
        at = max(row["nightgate_at"] for row in next(reversed(found.values())))
        lost = {"nightgate_at": at, "nightgate_role": "torn", "nightgate_version": 0, "nightgate_count": torn}
        found.setdefault((day, 0), []).append(lost)
    days: dict[str, list[pa.Table]] = {}
    for (day, version), rows in found.items():
        days.setdefault(day, []).append(_table(rows, raw.get(version, {})))
    return {day: pa.concat_tables(tables, promote_options="permissive") for day, tables in days.items()}, torn


def _refused(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"nightgate_at": datetime.fromtimestamp(value["at"], UTC).replace(tzinfo=None), "nightgate_role": "refused",
            "nightgate_version": 0, "nightgate_status": value["status"], "nightgate_count": value["refused"]}


def _rows(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    sent = value["sent"]
    rows = sent["rows"] if set(sent) == {"rows"} and isinstance(sent["rows"], list) else [sent]
    for place, (row, answer) in enumerate(zip(rows, value["answers"], strict=True)):
        many = {f"probability_{name}": share for name, share in answer.pop("probabilities", {}).items()}
        yield {"nightgate_at": datetime.fromtimestamp(value["at"], UTC).replace(tzinfo=None), "nightgate_request": value["request"],
               "nightgate_row": place, "nightgate_version": value["version"], "nightgate_consumer": value["consumer"],
               "nightgate_role": value["role"], **row, **answer, **many}


def _table(rows: list[dict[str, Any]], raw: Mapping[str, str]) -> "pa.Table":
    import pyarrow as pa

    types = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string(), "date": pa.string()}
    known = {"nightgate_at": pa.timestamp("us"), "nightgate_row": pa.int32(), "nightgate_version": pa.int64(),
             "nightgate_status": pa.int64(), "nightgate_count": pa.int64()}
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        kind = types[raw[name]] if name in raw else known.get(name)
        values = [row.get(name) for row in rows]
        columns[name] = pa.array([float(value) if kind == pa.float64() and value is not None else value for value in values], kind)
    return pa.table(columns)
