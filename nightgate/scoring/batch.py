"""Tables scored: source, raw gate, scorer, predictions gate, then one file, one folder of a window, or rows of a SQL table.

The output appears whole or not at all, and a window that is scored again replaces what it gave before. What a killed run had
typed and scored is not done again, as long as neither the source nor the release has changed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from joblib import Parallel, cpu_count, delayed

from nightgate.addresses import expanded
from nightgate.ahead import ahead
from nightgate.contracts.forms import RowRule, Shape
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.rules import rule
from nightgate.contracts.suites import Suite, read_suite
from nightgate.contracts.telling import explain
from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.errors import ContractBroken, DataUnusable, FileMissing, UsageError
from nightgate.releases import champion_of
from nightgate.schedules import today, window_of
from nightgate.scoring.destinations import Destination, FileOutput, destination_of
from nightgate.scoring.scorer import Scorer, load_answering, load_scorer
from nightgate.settings import Settings
from nightgate.sources import read_chunks
from nightgate.store import Store

GROUP = 131_072
"""Rows of a part: what is in memory does not grow with the table, and what a kill undoes is at most one of each worker."""

MOST_AT_ONCE = 8
"""Parts at once, however many processors there are: each takes about 60 MB."""

GIVEN = "given.parquet"
"""The rows to be scored, typed."""

ENOUGH = 500
"""Rows from which a contract's rules on shares and figures speak of a table: as many as it was made to bear."""

PASSING: Mapping[str, Any] = {"compression": "none", "write_statistics": False}
"""How files are written that are read once."""

Shown = Callable[[GateResult], object]


@dataclass(frozen=True)
class Finished:
    """What a scoring run left: where, its rows, the version that scored them, the window."""

    output: str
    rows: int
    version: int
    window: str


def score(settings: Settings, model: str, *, source: str, output: str | Path, window: str | None = None,
          as_of: date | None = None, dask: str | None = None, show: Shown = lambda _: None) -> Finished:
    """Score a table with the champion: entity, event time, prediction, probability, version.

    `output` is a Parquet file, a folder (ending in `/`: a file a window), or `<SQLAlchemy URL>#<table>`. What the raw contract
    says of the columns that the model needs is checked first, the predictions contract last; `show` is given both results,
    whether they pass or not. As in a night, bounds such as `now() - timedelta(hours=3)` count from 00:00 of `as_of`: when absent, of
    the date that `window` is, else of today. Raises FileMissing, DataUnusable, ContractBroken and UsageError.
    """
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to score with.", remedy=f"`nightgate run {model}` makes one.")
    scorer = load_scorer(settings, model, version)
    raw, made = (read_suite(settings.contracts_of(model) / f"{boundary}.json") for boundary in ("raw", "predictions"))
    target = destination_of(settings.root, output, window or Path(source).name)
    _demand_apart(settings.root, source, target)
    night = _night(scorer.definition, window, as_of)
    key = f"scoring/{model}/{_work(scorer, settings.root, source, target)}"
    folder, dask = settings.store.folder(key), dask or settings.dask
    given, work = folder / GIVEN, Store(str(folder)) if dask is None else Store(settings.store.address(key))
    sensitive = frozenset(scorer.definition.privacy.mask)
    with _alone(folder):
        try:
            rows = _write_typed(scorer, _keys(scorer.definition, raw), settings.root, source, given)
            _pass(check(for_table(raw, frozenset(pq.read_schema(given).names), rows), given, boundary="raw", sensitive=sensitive,
                        now=night), model, show)
            work.share(given, GIVEN)
            parts = _write_parts(replace(settings, dask=dask), scorer, work, pq.read_metadata(given).num_row_groups)
            whole = folder / "scored.parquet"
            _written((_decoded(_read(work, part)) for part in parts), whole)
            _pass(check(for_table(made, frozenset(pq.read_schema(whole).names), rows), whole, boundary="predictions", now=night),
                  model, show)
            target.put(whole)
        except DataUnusable:
            _forget(work, folder)  # the same rows would break the same rule
            raise
        _forget(work, folder)
    return Finished(str(target), rows, version, target.window)


def _demand_apart(root: Path, source: str, target: Destination) -> None:
    """Raise UsageError for an output that would replace its input, by whatever name, or be read as input the next time."""
    text = expanded(source).removeprefix("file://")
    if not isinstance(target, FileOutput) or "://" in text:
        return
    given, aim = root / Path(text).expanduser(), target.path.resolve()
    found = filter(Path.exists, {given, *map(Path, glob(str(given), recursive=True))})  # noqa: PTH207 - the pattern is absolute
    pattern = str(given)
    read = fnmatch(str(aim), pattern.replace("**/", "*")) if "**" in pattern else aim.match(pattern)
    if read or any(each.resolve() in aim.parents or (aim.exists() and aim.samefile(each)) for each in found):
        raise UsageError(f"The output {target} is the input, or inside it.", remedy="Name another place with --output.")


def _night(definition: Definition, window: str | None, as_of: date | None) -> datetime:
    """Return the moment at which a table ends, in the model's time zone: not that of the work, which may be hours or years later."""
    last = today(definition)
    if as_of is not None and as_of > last:
        raise UsageError(f"--as-of {as_of} is in the future.", remedy=f"The last date is today, {last}.")
    if as_of is None and window is not None:
        with contextlib.suppress(ValueError):
            as_of = min(date.fromisoformat(window), last)
    return window_of(definition, as_of or last).end


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder; whoever has waited for it begins anew, since the first has removed it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if os.fstat(held).st_nlink:
                yield
                return
        finally:
            os.close(held)


def _work(scorer: Scorer, root: Path, source: str, target: Destination) -> str:
    """Return what names the work on a source, as it is now, with a release and for a destination."""
    path = root / source
    stamps = [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in ([path] if path.is_file() else
              sorted(path.rglob("*")) if path.is_dir() else ()) if each.is_file()]
    unsure = "" if stamps else uuid.uuid4().hex  # what is no file here may have changed since
    return hashlib.sha256(repr((scorer.release.manifest.sha256, source, str(target), stamps, unsure)).encode()).hexdigest()[:16]


def for_table(suite: Suite, columns: frozenset[str], rows: int) -> Suite:
    """Return what a contract asks of a table to be scored: nothing of other columns (it has no target), not a night's rows.

    A small table need not show the figures of a night, and a share it must keep is widened to what chance allows: more rows
    against it would come once in 100,000 tables.
    """
    kept = []
    for each in suite.checks:
        if "column_set" in each.arguments:
            names = [name for name in each.arguments["column_set"] if name in columns]
            each = replace(each, arguments={**each.arguments, "column_set": names})
        of_rows = isinstance(rule(each), RowRule | Shape)
        if each.type.startswith("expect_table_row_count") or not columns.issuperset(each.columns) or (rows < ENOUGH and not of_rows):
            continue
        if rows < ENOUGH and each.mostly < 1:
            from scipy.stats import binom  # half a second

            each = replace(each, mostly=1 - min(rows, float(binom.isf(1e-5, rows, 1 - each.mostly))) / rows)
        kept.append(each)
    return replace(suite, checks=tuple(kept))


def _keys(definition: Definition, raw: Suite) -> dict[str, ColumnType]:
    """Return entity and event time with their types: what says which row an answer belongs to."""
    types: Mapping[str, ColumnType] = raw.meta.get("nightgate", {}).get("columns", {})
    moment: dict[str, ColumnType] = {} if definition.time is None else {definition.time: "date"}
    return {**{name: types.get(name, "text") for name in definition.entity}, **moment}


def _write_typed(scorer: Scorer, keys: Mapping[str, ColumnType], root: Path, source: str, path: Path) -> int:
    """Write the rows to be scored, typed, into a Parquet file, unless that is done; return their number."""
    if path.exists():
        return int(pq.read_metadata(path).num_rows)
    read = scorer.definition.source.model_copy(update={"data": source, "query": None})
    return _written((_typed(scorer, chunk, keys) for chunk in read_chunks(read, root)), path, **PASSING)


def _typed(scorer: Scorer, chunk: pa.Table, keys: Mapping[str, ColumnType]) -> pa.Table:
    table, misfits = scorer.typed(chunk, keys)
    if misfits:
        told = "; ".join(f"`{name}`: {len(rows):,} values are no {table.schema.field(name).type}" for name, rows in misfits.items())
        raise DataUnusable(f"Values that do not fit their column's type: {told[:500]}.", remedy="Mend the table to score.")
    return table


def _write_parts(settings: Settings, scorer: Scorer, work: Store, groups: int) -> list[str]:
    """Score the groups of rows that are not scored yet, on a cluster where there is one; return all parts.

    Here threads share a compiled scorer; scikit-learn's pipelines, which may hold code that threads must not share, have processes.
    """
    waiting = [number for number in range(groups) if not work.exists(_part(number))]
    at_once, manifest = min(cpu_count(), MOST_AT_ONCE), scorer.release.manifest

    def shares(count: int) -> list[tuple[Settings, str, int, Store, list[int]]]:
        return [(settings, manifest.model, manifest.version, work, share)
                for share in (waiting[start::count] for start in range(count)) if share]

    if waiting and settings.dask is not None:
        from nightgate.cluster import connected

        with connected(settings.dask, settings.root) as cluster:
            cluster.map(_write_share, shares(cluster.workers * 4))
    elif manifest.falls_back:
        Parallel(at_once)(delayed(_write_share)(*share) for share in shares(at_once * 4))
    else:
        Parallel(at_once, prefer="threads")(delayed(_write_part)(scorer, work, number) for number in waiting)
    return [_part(number) for number in range(groups)]


def _write_share(settings: Settings, model: str, version: int, work: Store, numbers: list[int]) -> None:
    scorer = load_answering(settings, model, version)
    for number in numbers:
        _write_part(scorer, work, number)


def _write_part(scorer: Scorer, work: Store, number: int) -> None:
    keys = [*scorer.definition.entity, *([scorer.definition.time] if scorer.definition.time else [])]
    rows = _read(work, GIVEN, number)
    made = scorer.answers(rows)
    columns = {name: rows[name] for name in keys} | {name: made[name] for name in made.column_names}
    version = pa.repeat(pa.scalar(scorer.release.manifest.version, pa.int64()), len(rows))
    table, file = pa.table({**columns, "model_version": version}), pa.BufferOutputStream()
    pq.write_table(table, file, use_dictionary=_repeating(table.schema), **PASSING)
    work.write(_part(number), file.getvalue().to_pybytes())


def _part(number: int) -> str:
    return f"part-{number:06d}.parquet"


def _read(work: Store, name: str, group: int | None = None) -> pa.Table:
    """Return a file's rows, or those of one group."""
    with work.opened(name) as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
        return file.read() if group is None else file.read_row_group(group)


def _forget(work: Store, folder: Path) -> None:
    shutil.rmtree(folder)
    if work.local is None:
        work.remove("")


def _written(tables: Iterator[pa.Table], path: Path, **how: Any) -> int:
    """Write tables of one schema into a Parquet file, which appears when it is whole; return their rows."""
    writer, rows, partial = None, 0, path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        for table in ahead(tables):
            writer = writer or pq.ParquetWriter(partial, table.schema, use_dictionary=_repeating(table.schema), **how)
            writer.write_table(table.cast(writer.schema), row_group_size=GROUP)
            rows += table.num_rows
        if writer is not None:
            writer.close()
            partial.replace(path)
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
        pa.default_memory_pool().release_unused()  # the gate that comes next needs memory of its own
    return rows


def _repeating(schema: pa.Schema) -> list[str]:
    """Return the columns whose values come again often enough for Parquet's dictionaries."""
    return [field.name for field in schema if not pa.types.is_floating(field.type)]


def _decoded(table: pa.Table) -> pa.Table:
    """Return a table with plain texts, for whoever reads it."""
    return table.cast(pa.schema([field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in table.schema]))


def _pass(result: GateResult, model: str, show: Shown) -> None:
    show(result)
    if not result.success:
        message, remedy = explain(result, model=model)
        raise ContractBroken(message, remedy=remedy, details={"boundary": result.boundary})
