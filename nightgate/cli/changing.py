"""Commands that change what serves or what is kept: rollback, approve, reject, remove."""

import argparse
import contextlib
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import FileMissing, UsageError
from nightgate.records import RunRecord, read_record, run_numbers, write_record
from nightgate.settings import Settings, settings


def add(commands: Commands) -> None:
    """Declare the commands."""
    back = commands.add("rollback", rollback, "Let an earlier version serve again.", "nightgate rollback credit --to 11",
                        begins="Checking the release …")
    back.add_argument("model")
    back.add_argument("--to", type=int, metavar="RUN", help="the version; the one that served before when absent")
    for name, handler, told in (("approve", approve, "Promote a run that waits."), ("reject", reject, "Refuse a run that waits.")):
        asked = commands.add(name, handler, told, f"nightgate {name} credit 12 --reason 'seen by the risk board'",
                             begins="Asking the registry …")
        asked.add_argument("model")
        asked.add_argument("run", nargs="?", help="number or Prefect's run id; the last one when absent")
        asked.add_argument("--reason", required=True, help="why, for the record")
    away = commands.add("remove", remove, "Remove a model with its contracts, runs and releases.", "nightgate remove credit",
                        begins="Looking for all of it …")
    away.add_argument("model")
    away.add_argument("--yes", action="store_true", help="do not ask")


def rollback(arguments: argparse.Namespace) -> Answer:
    """Point to an earlier release, verify it, and let the registry follow."""
    from nightgate import registry, releases
    from nightgate.definition.loading import definition_path

    place, model = settings(), arguments.model
    before = releases.read_pointer(place.store, model)
    if before is None:
        definition_path(place.models, model)
        raise FileMissing(f"{model} has no champion to roll back from.", remedy=f"`nightgate run {model}` makes one.")
    version = arguments.to or releases.previous_version(place.store, model, releases.versions(place.store, model))
    if version is None:
        raise UsageError(f"Nothing served before run {before.version} of {model}.",
                         remedy=f"`nightgate history {model}` lists the runs; name one with --to.")
    if version == before.version:
        raise UsageError(f"Run {version} of {model} serves already.", remedy=f"`nightgate history {model}` lists the others.")
    with _held(place, model):
        releases.promote(place, model, version, as_of=str(date.today()), why=f"rolled back from run {before.version}")
        registry.reconcile(place, model)
    return Answer({"model": model, "champion": version, "previous": before.version},
                  f"{model}: run {version} serves now, run {before.version} no longer.")


def approve(arguments: argparse.Namespace) -> Answer:
    """Promote a waiting run."""
    from nightgate import registry, releases

    place, record = _waiting(arguments)
    with _held(place, record.model):
        releases.promote(place, record.model, record.run, as_of=record.as_of, why=record.reason)
        registry.reconcile(place, record.model)
        return _decided(place, replace(record, verdict="promoted", champion=record.run), arguments.reason)


def reject(arguments: argparse.Namespace) -> Answer:
    """Refuse a waiting run; the champion stays."""
    place, record = _waiting(arguments)
    with _held(place, record.model):
        return _decided(place, replace(record, verdict="rejected"), arguments.reason)


def remove(arguments: argparse.Namespace) -> Answer:
    """Remove a model: definition, contracts, runs, releases, registered versions; ask first."""
    from nightgate import registry, runs
    from nightgate.definition.loading import definition_path

    place, model = settings(), arguments.model
    definition = place.models / f"{model}.toml"
    numbers = run_numbers(place.store, model)
    if not definition.exists() and not numbers:
        definition_path(place.models, model)
    held = _held_runs(definition)
    kept = f"; runs {', '.join(map(str, held))} are kept, a legal hold names them" if held else ""
    what = f"its definition, its contracts, {len(numbers)} runs with their reports and all releases{kept}"
    if not arguments.yes:
        _ask(f"Remove {model}: {what}? Write the model's name to go on: ", model)
    with _held(place, model):
        registry.remove(place, model)
        for folder in (f"releases/{model}", f"runs/{model}"):
            for name in place.store.names(folder):
                if name not in map(str, held):
                    place.store.remove(f"{folder}/{name}")
        contracts = place.contracts_of(model)
        for path in (*contracts.glob("*.json"), definition):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            contracts.rmdir()
    runs.forget(place.registry, model)
    value = {"model": model, "removed": True, "runs": len(numbers), "held": held}
    return Answer(value, f"{model} is removed: {what}.")


def _held_runs(definition: Path) -> list[int]:
    """Return the runs that the definition's legal hold names; raise DefinitionError when it cannot be read."""
    from nightgate.definition.loading import load_definition

    return sorted(load_definition(definition).retention.hold) if definition.exists() else []


def _waiting(arguments: argparse.Namespace) -> tuple[Settings, RunRecord]:
    place = settings()
    record = read_record(place.store, arguments.model, arguments.run)
    if record.verdict != "waiting":
        raise UsageError(f"Run {record.run} of {record.model} does not wait: it is {record.verdict}.",
                         remedy=f"`nightgate history {record.model}` lists the runs.")
    return place, record


def _decided(place: Settings, record: RunRecord, why: str) -> Answer:
    import getpass

    by = {"by": getpass.getuser(), "reason": why}
    record = replace(record, decision={**record.decision, record.verdict: by}, reason=f"{record.reason} {record.verdict}: {why}")
    write_record(place.store, record)
    return Answer(record.as_json(), f"{record.model} run {record.run} is {record.verdict}.")


@contextlib.contextmanager
def _held(place: Settings, model: str) -> Iterator[None]:
    """Keep runs of the model away while something is changed by hand."""
    from nightgate import runs

    with runs.hold(place.registry, model, holder_id=f"by-hand-{uuid.uuid4()}"):
        yield


def _ask(question: str, expected: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked.", remedy="Add --yes if it is meant.")
    if input(question).strip() != expected:
        raise UsageError("Nothing was removed.", remedy="Write the model's name exactly, or add --yes.")

