"""Commands of operation: up, deploy, pause, resume, drift."""

import argparse
import sys
from pathlib import Path

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import FileMissing, UsageError
from nightgate.reports.document import Document, Part, Table
from nightgate.settings import settings


def add(commands: Commands) -> None:
    """Declare the commands."""
    start = commands.add("up", up, "Start a Prefect server here and run all models on their schedules.", "nightgate up --port 4200")
    start.add_argument("--port", type=int, default=4200)
    start.add_argument("--host", default="127.0.0.1", help="another than this machine's own needs PREFECT_SERVER_API_AUTH_STRING")
    start.add_argument("--check", action="store_true", help="say what would keep it from working, and start nothing")
    there = commands.add("deploy", deploy, "Write all models' schedules to the server that PREFECT_API_URL names.", "nightgate deploy")
    there.add_argument("--pool", default="nightgate", help="the work pool whose workers run them")
    for name, handler, told in (("pause", pause, "Let a model's nights pass, until `resume`."),
                                ("resume", resume, "Run a model's nights again.")):
        named = commands.add(name, handler, told, f"nightgate {name} credit")
        named.add_argument("models", nargs="+", metavar="MODEL")
    look = commands.add("drift", drift, "Compare a model's data with those it was trained on, or any files with each other.",
                        "nightgate drift reference.parquet current.parquet", begins="Reading the data …")
    look.add_argument("data", nargs="+", help="a model, or a reference file and current ones")


def up(arguments: argparse.Namespace) -> Answer:
    """Run server and schedules until Ctrl-C."""
    from nightgate.cli.everything import mistakes, run_everything

    place = settings()
    if arguments.check:
        found = mistakes(place, arguments.host, arguments.port)
        return Answer({"success": not found, "mistakes": found}, "\n".join(found) or "Nothing is in the way.", 2 if found else 0)
    address = run_everything(place, arguments.host, arguments.port, told=sys.stderr if arguments.json else sys.stdout)
    return Answer({"address": address, "ended": True}, "Everything has ended.")


def deploy(arguments: argparse.Namespace) -> Answer:
    """Write deployments to a server that is there."""
    from nightgate.cli.orchestrator import prepare
    from nightgate.operations import deploy as written

    place = settings()
    prepare(place)
    print("Writing the schedules …", file=sys.stderr, flush=True)
    value = written(place, arguments.pool)
    removed = f"\nRemoved: {', '.join(value['removed'])}." if value["removed"] else ""
    return Answer(value, f"Deployed: {', '.join(value['deployed'])}.{removed}\n"
                  f"A worker runs them: `prefect worker start --pool {arguments.pool}`.")


def pause(arguments: argparse.Namespace) -> Answer:
    """Pause the nights of models."""
    return _paused(arguments, paused=True)


def resume(arguments: argparse.Namespace) -> Answer:
    """Resume the nights of models."""
    return _paused(arguments, paused=False)


def _paused(arguments: argparse.Namespace, *, paused: bool) -> Answer:
    from nightgate import operations
    from nightgate.cli.orchestrator import prepare
    from nightgate.definition.loading import definition_path

    place = settings()
    for name in arguments.models:
        definition_path(place.models, name)
    prepare(place)
    print("Asking the server …", file=sys.stderr, flush=True)
    value = operations.pause(place, arguments.models, paused=paused)
    if value["unknown"]:
        raise UsageError(f"Prefect's server has no schedule of {', '.join(value['unknown'])}.",
                         remedy="`nightgate up` or `nightgate deploy` writes it; PREFECT_API_URL names the server.")
    return Answer({"models": arguments.models, "paused": paused, **value},
                  f"{', '.join(arguments.models)}: {'paused' if paused else 'resumed'}.")


def drift(arguments: argparse.Namespace) -> Answer:
    """Compare, and answer 3 when a column raises an alarm."""
    from nightgate import drift as drifting

    if len(arguments.data) == 1:
        from nightgate.monitoring import compare_model

        found = [compare_model(settings(), arguments.data[0])]
    else:
        paths = [Path(name) for name in arguments.data]
        for path in paths:
            if not path.is_file():
                raise FileMissing(f"{path} is not there.", remedy="Name a model, or a reference file and current files.")
        reference = drifting.read(paths[0])
        found = [drifting.compare(reference, drifting.read(path), data=str(path)) for path in paths[1:]]
    parts: list[Part] = []
    for each in found:
        rows = [[column.column, column.verdict, f"{column.distance:.3f}", column.why] for column in
                sorted(each.columns, key=lambda column: (-column.distance, column.column))]
        parts.append(Table([each.data, "verdict", "distance", "why"], rows, frozenset({"distance"}),
                           frozenset(number for number, row in enumerate(rows) if row[1] == "alarm")))
    alarms = sum(each.alarm for each in found)
    value = {"files": [each.as_json() for each in found]}
    return Answer(value, Document("Drift", f"{alarms} columns raise an alarm", parts), 3 if alarms else 0)
