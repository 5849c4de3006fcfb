"""`gate`: check any file against any suite, without a project. `quarantine`: what the gates of a run set aside."""

import argparse
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.cli.changing import user
from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import NightgateError, UsageError
from nightgate.records import RunRecord, read_record, run_key
from nightgate.reports.document import Callout, Document, Heading, Part, Table
from nightgate.settings import Settings, settings
from nightgate.wording import counted

if TYPE_CHECKING:
    from nightgate.contracts.gate import GateResult


def add(commands: Commands) -> None:
    """Declare the commands."""
    parser = commands.add("gate", gate, "Check files against a Great Expectations suite; no project is needed.",
                          "nightgate gate suite.json monday.csv tuesday.parquet --id customer", begins="Checking …")
    parser.add_argument("suite", type=Path, metavar="SUITE.json")
    parser.add_argument("data", nargs="+", help="Parquet or CSV files")
    parser.add_argument("--id", metavar="COLUMN", help="name the rows of examples by this column")
    parser.add_argument("--quarantine", type=Path, metavar="DIR",
                        help="set rows aside there, up to the share that the suite's meta.nightgate.quarantine allows")
    parser = commands.add("quarantine", quarantine, "Show, export or release the rows that a run set aside.",
                          "nightgate quarantine credit 12 --export aside.csv", begins="Reading the rows …", of_run=True)
    parser.add_argument("--export", type=Path, metavar="FILE", help="write them as CSV or Parquet, by the file's ending")
    parser.add_argument("--release", action="store_true", help="let these rows pass from the next run on")
    parser.add_argument("--reason", default="", help="with --release: why they are right")


def gate(arguments: argparse.Namespace) -> Answer:
    """Check one file after the other; the worst exit code is the answer's."""
    from nightgate.contracts.gate import check
    from nightgate.contracts.suites import read_suite

    suite = read_suite(arguments.suite)
    if arguments.quarantine and len({Path(name).name for name in arguments.data}) < len(arguments.data):
        raise UsageError("Two of the files have the same name.", remedy="Give each a --quarantine of its own.")
    files, parts, codes = [], list[Part](), []
    for name in arguments.data:
        try:
            aside = arguments.quarantine / Path(name).name if arguments.quarantine else None  # a folder of the file's own name
            result = check(suite, Path(name), boundary=suite.name, identity=arguments.id, quarantine_to=aside)
        except NightgateError as error:
            files.append({"data": name, "success": False, "error": error.as_json()})
            parts.append(Callout(name, str(error), "bad"))
            codes.append(error.exit_code)
        else:
            files.append(_as_json(result, name))
            parts += _told(result, name)
            codes.append(0 if result.success else 3)
    passed = sum(code == 0 for code in codes)
    return Answer({"files": files}, Document(arguments.suite.name, f"{passed} of {counted(len(codes), 'file')} passed", parts), max(codes))


def _as_json(result: "GateResult", name: str) -> dict[str, Any]:
    results = [{**vars(each), "unexpected_count": each.unexpected} for each in result.results]
    return {"data": name, **vars(result), "seconds": round(result.seconds, 3), "results": results}


def _told(result: "GateResult", name: str) -> list[Part]:
    from nightgate.contracts.telling import explain, passing

    if result.success:
        return [Callout(f"{name} passed", passing(result) + (f"\nThe rest is in {result.kept}." if result.kept else ""), "good")]
    message, remedy = explain(result)
    return [Callout(f"{name} stopped", f"{message}\n{remedy}", "bad")]


SHOWN = 20
COLUMNS = 6


def quarantine(arguments: argparse.Namespace) -> Answer:
    """Show a run's rows with the rules that they are against; export or release them."""
    from nightgate.gates import quarantined

    place = settings()
    record = read_record(place.store, arguments.model, arguments.run)
    if arguments.release and not arguments.reason.strip():
        raise UsageError("--reason is needed: whoever audits the data later wants to know why.",
                         remedy='Add it as in --reason "checked against the paper files".')
    aside = quarantined(place.store, record)
    if not aside:
        return Answer({"model": record.model, "run": record.run, "rows": 0, "boundaries": {}},
                      f"Run {record.run} of {record.model} set no row aside.")
    found = {boundary: _read(place, record, address) for boundary, address in aside.items()}
    rows = sum(len(each["rows"]) for each in found.values())
    if arguments.export:
        _export(place, aside, arguments.export)
    if arguments.release:
        for boundary, address in aside.items():
            _release(place, record, boundary, address, arguments.reason.strip())
    value = {"model": record.model, "run": record.run, "rows": rows, "boundaries": found,
             "exported": str(arguments.export) if arguments.export else None, "released": arguments.release}
    told = f"{counted(rows, 'row')} set aside" + (f", written to {arguments.export}" if arguments.export else "") + (
        "; released: they pass from the next run on" if arguments.release else "")
    parts = [part for boundary, each in found.items() for part in _rows(boundary, each)]
    return Answer(value, Document(f"{record.model} run {record.run}", told, parts))


def _read(place: Settings, record: RunRecord, address: str) -> dict[str, Any]:
    """Return the columns and rows of a file, values of masked columns hidden."""
    import pyarrow.parquet as pq

    from nightgate.contracts.gate import MASK, REASONS

    hidden = set((record.definition.get("privacy") or {}).get("mask", ()))
    with place.store.local_copy(address) as path:
        table = pq.read_table(path)
    rows = [{name: MASK if name in hidden else value if isinstance(value, int | float | bool | list | None) else str(value)
             for name, value in row.items()} for row in table.to_pylist()]
    return {"columns": [name for name in table.column_names if name != REASONS], "rows": rows}


def _rows(boundary: str, found: dict[str, Any]) -> list[Part]:
    from nightgate.contracts.gate import REASONS

    names, rows = found["columns"][:COLUMNS], found["rows"]
    counts = Counter(reason for row in rows for reason in row[REASONS])
    more = f", the first {SHOWN} of them" if len(rows) > SHOWN else ""
    return [Heading(f"{boundary}: why"),
            Table(["rule", "rows"], [[rule, str(count)] for rule, count in counts.items()], frozenset({"rows"})),
            Heading(f"{boundary}: rows{more}"),
            Table(names, [["" if row[name] is None else str(row[name])[:40] for name in names] for row in rows[:SHOWN]])]


def _export(place: Settings, aside: dict[str, str], target: Path) -> None:
    """Write the rows of all boundaries into one file, whole or not at all."""
    import duckdb

    from nightgate.contracts.conditions import literal

    kind = {".csv": "csv", ".parquet": "parquet"}.get(target.suffix.casefold())
    if kind is None or not target.absolute().parent.is_dir():
        raise UsageError(f"{target} cannot be written.", remedy="Name a file that ends in .csv or .parquet, in a folder that exists.")
    with tempfile.TemporaryDirectory(dir=target.absolute().parent) as folder, duckdb.connect() as connection:
        parts = []
        for boundary, address in aside.items():
            with place.store.local_copy(address) as path:
                connection.execute(f"CREATE TABLE {boundary} AS SELECT * FROM read_parquet({literal(str(path))})")
            parts.append(f"SELECT {literal(boundary)} AS boundary, * FROM {boundary}")
        made = Path(folder) / f"rows.{kind}"
        connection.execute(f"COPY ({' UNION ALL BY NAME '.join(parts)}) TO {literal(str(made))} (FORMAT {kind})")
        made.replace(target)


def _release(place: Settings, record: RunRecord, boundary: str, address: str, why: str) -> None:
    """Add the rows to those that pass unchecked, and say who let them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nightgate.contracts.gate import REASONS
    from nightgate.gates import released, released_key
    from nightgate.spool import working_folder

    with place.store.local_copy(address) as path:
        rows = pq.read_table(path).drop_columns([REASONS])
    with released(place.store, record.model, boundary) as before:
        tables = [rows] if before is None else [pq.read_table(before), rows]
    whole = pa.concat_tables(tables, promote_options="permissive")
    with working_folder(place.store) as folder:
        pq.write_table(whole, folder / "released.parquet")
        place.store.write(released_key(record.model, boundary), (folder / "released.parquet").read_bytes())
    key = f"{run_key(record.model, record.run)}/released-{boundary}.json"
    place.store.write_json(key, {"rows": len(rows), "by": user(), "why": why,
                                 "at": datetime.now(UTC).isoformat(timespec="seconds")})
