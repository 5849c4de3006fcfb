"""Commands of operation: up, deploy, pause, resume."""

import argparse
import sys

from nightgate.cli.parsing import Answer, Commands, port
from nightgate.errors import DefinitionError, UsageError
from nightgate.settings import settings


def add(commands: Commands) -> None:
    """Declare the commands."""
    start = commands.add("up", up, "Start a Prefect server here and run all models on their schedules.", "nightgate up --port 4200")
    start.add_argument("--port", type=port, default=4200)
    start.add_argument("--host", default="127.0.0.1", help="another than this machine's own needs PREFECT_SERVER_API_AUTH_STRING")
    start.add_argument("--check", action="store_true", help="say what would keep it from working, and start nothing")
    there = commands.add("deploy", deploy, "Write all models' schedules to the server that PREFECT_API_URL names.", "nightgate deploy")
    there.add_argument("--pool", default="nightgate", help="the work pool whose workers run them")
    for name, told in (("pause", "Let a model's nights pass, until `resume`."), ("resume", "Run a model's nights again.")):
        named = commands.add(name, pause, told, f"nightgate {name} credit")
        named.set_defaults(paused=name == "pause")
        named.add_argument("models", nargs="+", metavar="MODEL")


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
    from nightgate.operations import by_hand, no_nights
    from nightgate.operations import deploy as written

    place = settings()
    prepare(place)
    print("Writing the schedules …", file=sys.stderr, flush=True)
    value = written(place, arguments.pool)
    told = [f"Deployed: {', '.join(value['deployed'])}.", *(by_hand(each) for each in value["changed by hand"]),
            *([f"Removed: {', '.join(value['removed'])}."] if value["removed"] else []), *map(no_nights, value["broken"].values()),
            f"A worker runs them: `prefect worker start --pool {arguments.pool}`."]
    return Answer(value, "\n".join(told), DefinitionError.exit_code if value["broken"] else 0)


def pause(arguments: argparse.Namespace) -> Answer:
    """Pause the nights of models, or resume them."""
    from nightgate import operations
    from nightgate.cli.orchestrator import prepare
    from nightgate.definition.loading import definition_path

    place, paused = settings(), arguments.paused
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
