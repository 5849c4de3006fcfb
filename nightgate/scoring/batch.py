"""Tables scored: source, raw gate, scorer, predictions gate, then one file, one folder of a window, or rows of a SQL table.

The output appears whole or not at all, and a window that is scored again replaces what it gave before. What a killed run had
typed and scored is not done again, as long as neither the source nor the release has changed.
"""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binom

from nightgate.contracts.forms import RowRule, Shape
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.rules import rule
from nightgate.contracts.suites import Suite, read_suite
from nightgate.contracts.telling import explain
from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.errors import ContractBroken, DataUnusable, FileMissing
from nightgate.releases import champion_of
from nightgate.scoring.destinations import Destination, destination_of
from nightgate.scoring.scorer import Scorer, load_scorer
from nightgate.settings import Settings
from nightgate.sources import read_chunks

GROUP = 131_072
"""Rows of a part: what is in memory does not grow with the table, and what a kill undoes is at most this."""

ENOUGH = 500
"""Rows from which a contract's rules on shares and figures speak of a table: as many as it was made to bear."""

Shown = Callable[[GateResult], object]


@dataclass(frozen=True)
class Finished:
    """What a scoring run left: where, its rows, the version that scored them, the window."""

    output: str
    rows: int
    version: int
    window: str


def score(settings: Settings, model: str, *, source: str, output: str | Path, window: str | None = None, processes: int = 1,
          dask: str | None = None, show: Shown = lambda _: None) -> Finished:
    """Score a table with the champion: entity, event time, prediction, probability, version.

    `output` is a Parquet file, a folder (ending in `/`: a file a window), or `<SQLAlchemy URL>#<table>`. What the raw contract
    says of the columns that the model needs is checked first, the predictions contract last; `show` is given both results,
    whether they pass or not. Raises FileMissing, DataUnusable, ContractBroken and UsageError.
    """
    version = champion_of(settings, model)
    if version is None:
        raise FileMissing(f"{model} has no champion to score with.", remedy=f"`nightgate run {model}` makes one.")
    scorer = load_scorer(settings, model, version)
    raw, made = (read_suite(settings.contracts_of(model) / f"{boundary}.json") for boundary in ("raw", "predictions"))
    target = destination_of(settings.root, output, window or Path(source).name)
    folder = settings.store.folder(f"scoring/{model}/{_work(scorer, settings.root, source, target)}")
    given = folder / "given.parquet"
    sensitive = frozenset(scorer.definition.privacy.mask)
    try:
        rows = _write_typed(scorer, _keys(scorer.definition, raw), settings.root, source, given)
        _pass(check(for_table(raw, frozenset(pq.read_schema(given).names), rows), given, boundary="raw", sensitive=sensitive),
              model, show)
        parts = _write_parts(settings, model, version, given, folder, processes, dask)
        whole = folder / "scored.parquet"
        _written((pq.ParquetFile(part, pre_buffer=False).read() for part in parts), whole)
        _pass(check(for_table(made, frozenset(pq.read_schema(whole).names), rows), whole, boundary="predictions"), model, show)
        target.put(whole)
    except DataUnusable:
        shutil.rmtree(folder)  # the same rows would break the same rule
        raise
    shutil.rmtree(folder)
    return Finished(str(target), rows, version, target.window)


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
    return _written((_typed(scorer, chunk, keys) for chunk in read_chunks(read, root)), path)


def _typed(scorer: Scorer, chunk: pa.Table, keys: Mapping[str, ColumnType]) -> pa.Table:
    table, misfits = scorer.typed(chunk, keys)
    if misfits:
        told = "; ".join(f"`{name}`: {len(rows):,} values are no {table.schema.field(name).type}" for name, rows in misfits.items())
        raise DataUnusable(f"Values that do not fit their column's type: {told[:500]}.", remedy="Mend the table to score.")
    return table


def _write_parts(settings: Settings, model: str, version: int, given: Path, folder: Path, processes: int, dask: str | None) -> list[Path]:
    """Score the groups of rows that are not scored yet, in other processes where there are several; return all parts in order."""
    groups = pq.read_metadata(given).num_row_groups
    parts = [folder / f"part-{number:06d}.parquet" for number in range(groups)]
    waiting = [(number, part) for number, part in enumerate(parts) if not part.exists()]
    if processes == 1 and dask is None:
        scorer = load_scorer(settings, model, version)
        for number, part in waiting:
            _write_part(scorer, given, number, part)
        return parts
    from joblib import Parallel, delayed, parallel_config

    backend: dict[str, Any] = {"backend": "loky", "n_jobs": processes}
    if dask is not None:
        from distributed import Client

        client = Client(dask)
        backend = {"backend": "dask", "client": client}
    with parallel_config(**backend):
        Parallel()(delayed(_score_apart)(settings, model, version, given, share) for share in _shares(waiting, max(processes, 2) * 4))
    return parts


def _shares(waiting: list[tuple[int, Path]], count: int) -> list[list[tuple[int, Path]]]:
    return [share for share in (waiting[start::count] for start in range(count)) if share]


def _score_apart(settings: Settings, model: str, version: int, given: Path, share: list[tuple[int, Path]]) -> None:
    scorer = load_scorer(settings, model, version)
    for number, part in share:
        _write_part(scorer, given, number, part)


def _write_part(scorer: Scorer, given: Path, number: int, part: Path) -> None:
    keys = [*scorer.definition.entity, *([scorer.definition.time] if scorer.definition.time else [])]
    with pq.ParquetFile(given, pre_buffer=False) as file:
        rows = file.read_row_group(number)
    made = scorer.answers(rows)
    columns = {name: rows[name] for name in keys} | {name: made[name] for name in made.column_names}
    version = pa.array([scorer.release.manifest.version], pa.int64()).take(pa.array([0] * len(rows), pa.int32()))
    _written(iter([pa.table({**columns, "model_version": version})]), part)


def _written(tables: Iterator[pa.Table], path: Path) -> int:
    """Write tables of one schema into a Parquet file, which appears when it is whole; return their rows."""
    writer, rows, partial = None, 0, path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(partial, _decoded(table.schema))
            writer.write_table(table.cast(writer.schema), row_group_size=GROUP)
            rows += table.num_rows
        if writer is not None:
            writer.close()
            partial.replace(path)
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
    return rows


def _decoded(schema: pa.Schema) -> pa.Schema:
    """Return a schema with plain texts: Parquet has dictionaries of its own."""
    return pa.schema([field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema])


def _pass(result: GateResult, model: str, show: Shown) -> None:
    show(result)
    if not result.success:
        message, remedy = explain(result, model=model)
        raise ContractBroken(message, remedy=remedy, details={"boundary": result.boundary})
