"""`quarantine`: show, export and release the rows that the gates of a run set aside."""

import argparse
import getpass
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import UsageError
from nightgate.records import RunRecord, read_record, run_key
from nightgate.reports.document import Document, Heading, Part, Table
from nightgate.settings import Settings, settings
from nightgate.wording import counted

SHOWN = 20
COLUMNS = 6


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add("quarantine", quarantine, "Show, export or release the rows that a run set aside.",
                          "nightgate quarantine credit 12 --export aside.csv", begins="Reading the rows …", of_run=True)
    parser.add_argument("--export", type=Path, metavar="FILE", help="write them as CSV or Parquet, by the file's ending")
    parser.add_argument("--release", action="store_true", help="let these rows pass from the next run on")
    parser.add_argument("--reason", default="", help="with --release: why they are right")


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
    parts = [part for boundary, each in found.items() for part in _told(boundary, each)]
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


def _told(boundary: str, found: dict[str, Any]) -> list[Part]:
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
    place.store.write_json(key, {"rows": len(rows), "by": getpass.getuser(), "why": why,
                                 "at": datetime.now(UTC).isoformat(timespec="seconds")})
