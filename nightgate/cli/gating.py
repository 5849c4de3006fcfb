"""`gate`: check any file against any suite, without a project."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import NightgateError, UsageError
from nightgate.reports.document import Callout, Document, Part

if TYPE_CHECKING:
    from nightgate.contracts.gate import GateResult
    from nightgate.contracts.suites import Suite


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add("gate", gate, "Check files against a Great Expectations suite; no project is needed.",
                          "nightgate gate suite.json monday.csv tuesday.parquet --id customer", begins="Checking …")
    parser.add_argument("suite", type=Path, metavar="SUITE.json")
    parser.add_argument("data", nargs="+", help="Parquet or CSV files")
    parser.add_argument("--id", metavar="COLUMN", help="name the rows of examples by this column")
    parser.add_argument("--quarantine", type=Path, metavar="DIR",
                        help="set rows aside there, up to the share that the suite's meta.nightgate.quarantine allows")


def gate(arguments: argparse.Namespace) -> Answer:
    """Check one file after the other; the worst exit code is the answer's."""
    from nightgate.contracts.suites import read_suite

    suite = read_suite(arguments.suite)
    if arguments.quarantine and len({Path(name).name for name in arguments.data}) < len(arguments.data):
        raise UsageError("Two of the files have the same name.", remedy="Give each a --quarantine of its own.")
    files, parts, codes = [], list[Part](), []
    for name in arguments.data:
        try:
            result = _checked(suite, arguments, name)
        except NightgateError as error:
            files.append({"data": name, "success": False, "error": error.as_json()})
            parts.append(Callout(name, str(error), "bad"))
            codes.append(error.exit_code)
        else:
            files.append(_as_json(result, name))
            parts += _told(result, name)
            codes.append(0 if result.success else 3)
    passed = sum(code == 0 for code in codes)
    return Answer({"files": files}, Document(arguments.suite.name, f"{passed} of {len(codes)} files passed", parts), max(codes))


def _checked(suite: "Suite", arguments: argparse.Namespace, name: str) -> "GateResult":
    from nightgate.contracts.gate import check

    return check(suite, Path(name), boundary=suite.name, identity=arguments.id, quarantine_to=_folder(arguments, name))


def _folder(arguments: argparse.Namespace, name: str) -> Path | None:
    """Return where a file's rows are set aside: a folder of its own name."""
    return arguments.quarantine / Path(name).name if arguments.quarantine else None


def _as_json(result: "GateResult", name: str) -> dict[str, Any]:
    results = [{"type": each.type, "column": each.column, "success": each.success, "unexpected_count": each.unexpected, "share": each.share,
                "examples": each.examples, "ids": each.ids, "sentence": each.sentence, "found": each.found, "error": each.error,
                "severity": each.severity, "place": each.place} for each in result.results]
    return {"data": name, "success": result.success, "checks": result.checks, "failed": result.failed, "errored": result.errored,
            "rows": result.rows, "quarantined": result.quarantined, "kept": result.kept, "seconds": round(result.seconds, 3),
            "results": results}


def _told(result: "GateResult", name: str) -> list[Part]:
    from nightgate.contracts.telling import explain, passing

    if result.success:
        return [Callout(f"{name} passed", passing(result) + (f"\nThe rest is in {result.kept}." if result.kept else ""), "good")]
    message, remedy = explain(result)
    return [Callout(f"{name} stopped", f"{message}\n{remedy}", "bad")]
