"""`run`: retrain now, with live progress."""

import argparse
import sys
from datetime import date
from typing import Any

from nightgate.cli.parsing import Answer, Commands, night, pairs
from nightgate.errors import NightgateError, UsageError
from nightgate.settings import Settings, settings

EXIT_CODES = {"promoted": 0, "kept": 0, "rejected": 0, "rolled_back": 1, "failed": 1, "stopped": 3, "waiting": 4}


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add("run", run, "Retrain models now.", "nightgate run credit --as-of 2026-11-20 --set training.seed=7")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="the models' names")
    parser.add_argument("--all", action="store_true", help="all models of the project")
    parser.add_argument("--as-of", type=night, metavar="DATE", help="the night to run, as 2026-11-20; today when absent")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key for this run only")
    parser.add_argument("--reason", default="", help="why, for the record")


def run(arguments: argparse.Namespace) -> Answer:
    """Retrain one model after the other; the worst exit code is the answer's."""
    from nightgate.definition.loading import definition_path, load_definition, model_names

    place = settings()
    names = model_names(place.models) if arguments.all else arguments.models
    if not names:
        raise UsageError("No model is named.", remedy=f"Models here: {', '.join(model_names(place.models)) or 'none'}; or --all.")
    as_of, overrides = arguments.as_of, pairs(arguments.set)
    for name in names:  # what cannot run is said before the first one starts
        load_definition(definition_path(place.models, name), dict(overrides))
    ended = []
    for name in names:
        print(f"nightgate: {name}, as of {as_of or 'today'}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
        ended.append(_retrain(place, name, as_of, overrides, arguments))
    value: Any = ended[0][0] if len(ended) == 1 else {"files": [record for record, _ in ended]}
    return Answer(value, "", max(code for _, code in ended))


def _retrain(place: Settings, name: str, as_of: date | None, overrides: Any, arguments: argparse.Namespace
             ) -> tuple[dict[str, Any], int]:
    """Run one model, show what comes, return its record (or error) and exit code."""
    from nightgate.cli.orchestrator import retrain

    try:
        if arguments.json:
            record = retrain(place, name, as_of=as_of, overrides=overrides, reason=arguments.reason)
        else:
            from nightgate.cli.progress import Progress
            from nightgate.reports.terminal import console

            with Progress(console()):
                record = retrain(place, name, as_of=as_of, overrides=overrides, reason=arguments.reason)
    except NightgateError as error:
        return _failed(place, name, error, arguments)
    if not arguments.json:
        _show(place, record)
    return record, EXIT_CODES[record["verdict"]]


def _failed(place: Settings, name: str, error: NightgateError, arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    from nightgate.records import read_record, run_numbers

    record: dict[str, Any] = {"model": name}
    if run_numbers(place.store, name):
        last = read_record(place.store, name)
        if (last.error or {}).get("message") == error.message:
            record = last.as_json()
    if not arguments.json:
        if "run" in record:
            _show(place, record)
        else:
            print(f"{error.kind}: {error}", file=sys.stderr)
    return {**record, "error": error.as_json()}, error.exit_code


def _show(place: Settings, record: dict[str, Any]) -> None:
    from nightgate.cli.orchestrator import ui_address
    from nightgate.records import RunRecord
    from nightgate.reports.retraining import summary
    from nightgate.reports.terminal import show

    show(summary(RunRecord.from_json(record), ui_address(place)))
