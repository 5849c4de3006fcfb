"""`docs`: Great Expectations' Data Docs of the last runs' gates."""

import argparse
import json
import shutil
from datetime import datetime
from typing import TYPE_CHECKING

from nightgate.cli.parsing import Answer, Commands
from nightgate.cli.reading import known, open_page
from nightgate.errors import UsageError
from nightgate.records import RunRecord, gate_note, history, read_record
from nightgate.settings import Settings

if TYPE_CHECKING:
    from nightgate.contracts.pages import Checked


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add("docs", docs, "Build Great Expectations' Data Docs of the last runs' gates.", "nightgate docs credit --runs 20",
                          begins="Building the pages …")
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="how many of the last runs, 10 when absent")
    parser.add_argument("--open", action="store_true", help="open them in the browser")


def docs(arguments: argparse.Namespace) -> Answer:
    """Build the pages anew; what a masked column holds is hidden in them as it is everywhere."""
    from nightgate.contracts.pages import as_library_json, build

    place, model = known(arguments.model), arguments.model
    if arguments.runs < 1:
        raise UsageError(f"--runs {arguments.runs} is no number of runs.", remedy="Name one or more.")
    read_record(place.store, model)  # says what to do where there is none
    records = history(place.store, model)[-arguments.runs:]
    gates = [gate for record in records for gate in _gates(place, record)]
    folder = place.store.folder(f"data-docs/{model}")
    shutil.rmtree(folder)
    page = build(gates, folder)
    if arguments.open:
        open_page(str(page))
    value = {"model": model, "page": str(page), "runs": [record.run for record in records], "results": [*map(as_library_json, gates)]}
    return Answer(value, str(page))


def _gates(place: Settings, record: RunRecord) -> list["Checked"]:
    from nightgate.contracts.pages import Checked

    found = []
    for gate in record.gates:
        suite = json.loads(place.store.read(f"contracts/{gate.sha256}.json"))
        result = gate_note(place.store, record, gate.boundary)["result"]
        found.append(Checked(suite, result, record.run, datetime.fromisoformat(record.started)))
    return found
