"""Commands that change what serves or what is kept: rollback, approve, reject, remove."""

import argparse
import contextlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import FileMissing, SourceUnavailable, StoreError, UsageError
from nightgate.records import read_record, run_numbers
from nightgate.settings import Settings, settings
from nightgate.wording import asked, counted

if TYPE_CHECKING:
    from nightgate.releases import Pointer


def add(commands: Commands) -> None:
    """Declare the commands."""
    back = commands.add("rollback", rollback, "Let an earlier version serve again.", "nightgate rollback credit --to 11",
                        begins="Checking the release …")
    back.add_argument("model")
    back.add_argument("--to", metavar="RUN", help="number or Prefect's run id; the one that served before when absent")
    for name, told in (("approve", "Promote a run that waits."), ("reject", "Refuse a run that waits.")):
        asked = commands.add(name, settle, told, f"nightgate {name} credit 12 --reason 'seen by the risk board'",
                             begins="Asking the registry …", of_run=True)
        asked.set_defaults(verdict=name)
        asked.add_argument("--reason", required=True, help="why, for the record")
    away = commands.add("remove", remove, "Remove a model with its contracts, runs and releases.", "nightgate remove credit",
                        begins="Looking for all of it …")
    away.add_argument("model")
    away.add_argument("--yes", action="store_true", help="do not ask")


def rollback(arguments: argparse.Namespace) -> Answer:
    """Point to an earlier release, verify it, and let the registry follow."""
    from nightgate import registry, releases
    from nightgate.approving import held
    from nightgate.definition.loading import definition_path

    place, model = settings(), arguments.model
    before = _pointer(place, model, needed=arguments.to is None)
    serving = None if before is None else before.version
    version = _chosen(place, model, arguments.to) if arguments.to else None if before is None else before.previous
    if version is None:
        if serving is None:
            definition_path(place.models, model)
            raise FileMissing(f"{model} has no champion to roll back from.",
                              remedy=f"`nightgate run {model}` makes one; or name a run by --to.")
        raise UsageError(f"Nothing served before run {serving} of {model}.",
                         remedy=f"`nightgate history {model}` lists the runs; name one with --to.")
    if version == serving:
        raise UsageError(f"Run {version} of {model} serves already.", remedy=f"`nightgate history {model}` lists the others.")
    with held(place, model):
        if serving is None:
            releases.point(place.store, model, None)  # a damaged pointer gives way
        why = "rolled back" if serving is None else f"rolled back from run {serving}"
        releases.promote(place, model, version, as_of=str(date.today()), why=why)
        registry.reconcile(place, model)
    return Answer({"model": model, "champion": version, "previous": serving},
                  f"{model}: run {version} serves now{'' if serving is None else f', run {serving} no longer'}.")


def settle(arguments: argparse.Namespace) -> Answer:
    """Promote a run that waits, or refuse it: then the champion stays."""
    from nightgate.approving import decide

    record = decide(settings(), arguments.model, arguments.run, arguments.verdict, by=user(), why=arguments.reason)
    return Answer(record, f"{record.model} run {record.run} is {record.verdict}.")


def remove(arguments: argparse.Namespace) -> Answer:
    """Remove a model: definition, contracts, runs, releases, registered versions; ask first."""
    from nightgate import registry, runs
    from nightgate.approving import held
    from nightgate.definition.loading import definition_path

    place, model = settings(), arguments.model
    definition = place.models / f"{model}.toml"
    numbers = run_numbers(place.store, model)
    if not definition.exists() and not numbers:
        definition_path(place.models, model)
    named = _held_runs(definition)
    kept = f"; runs {', '.join(map(str, named))} are kept, a legal hold names them" if named else ""
    what = f"its definition, its contracts, {counted(len(numbers), 'run')} with reports and all releases{kept}"
    if not arguments.yes and asked(f"Remove {model}: {what}? Write the model's name to go on: ") != model:
        raise UsageError("Nothing was removed.", remedy="Write the model's name exactly, or add --yes.")
    with held(place, model):
        registry.remove(place, model, kept=named)
        for folder in (f"releases/{model}", f"runs/{model}"):
            for name in place.store.names(folder):
                if name not in map(str, named):
                    place.store.remove(f"{folder}/{name}")
            if not place.store.names(folder):
                place.store.remove(folder)
        contracts = place.contracts_of(model)
        for path in (*contracts.glob("*.json"), definition):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            contracts.rmdir()
    runs.forget(place.registry, model)
    gone, told = _without_nights(place, model)
    value = {"model": model, "removed": True, "runs": len(numbers), "held": named, "deployments": gone}
    return Answer(value, f"{model} is removed: {what}.{told}")


def _without_nights(place: Settings, model: str) -> tuple[list[str], str]:
    """Remove a model's nights from the server that is named or runs here; return them, and what is left to a person."""
    from nightgate import operations
    from nightgate.cli.orchestrator import prepare, ui_address

    if ui_address(place) is None:
        return [], ""
    prepare(place)
    try:
        return list(operations.forget(place, model)["removed"]), ""
    except SourceUnavailable as error:
        return [], f" Its nights stay on the server, which cannot be asked: {error.message} `nightgate deploy` removes them."


def _held_runs(definition: Path) -> list[int]:
    """Return the runs that the definition's legal hold names; raise DefinitionError when it cannot be read."""
    from nightgate.definition.loading import load_definition

    return sorted(load_definition(definition).retention.hold) if definition.exists() else []


def _pointer(place: Settings, model: str, *, needed: bool) -> "Pointer | None":
    """Return what serves; None too where the pointer is damaged and not needed, since a person names another version."""
    from nightgate.releases import read_pointer

    try:
        return read_pointer(place.store, model)
    except StoreError:
        if needed:
            raise
        return None


def _chosen(place: Settings, model: str, which: str) -> int:
    """Return the version that a person names; raise UsageError for one that did not come through all gates."""
    record = read_record(place.store, model, which)
    if record.verdict not in ("promoted", "kept", "waiting", "rejected"):
        raise UsageError(f"Run {record.run} of {model} is {record.verdict}: what it left did not come through all gates.",
                         remedy=f"`nightgate history {model}` lists the others.")
    return record.run


def user() -> str:
    """Return who is at the keyboard; a container's user may have no name."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"

