"""Commands that only read: status, history, show, compare, report, docs."""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import DefinitionError, FileMissing, NightgateError, UsageError
from nightgate.records import RunRecord, differing, gate_note, history, read_record, run_numbers
from nightgate.reports.document import Callout, Document, Facts, Heading, Paragraph, Part, Table
from nightgate.settings import Settings, settings
from nightgate.wording import counted, interval

if TYPE_CHECKING:
    from nightgate.definition.model import Definition


def add(commands: Commands) -> None:
    """Declare the commands."""
    status_parser = commands.add("status", status, "Champion, last run, gates and next scheduled run.", "nightgate status credit",
                                 begins="Reading the runs …")
    status_parser.add_argument("model", nargs="?", help="all models when absent")
    status_parser.add_argument("--all", action="store_true", help="the last night of all models, a line each")
    past = commands.add("history", show_history, "All runs of a model.", "nightgate history credit")
    past.add_argument("model")
    commands.add("show", show, "One run: decision, figures, gates, lineage.", "nightgate show credit 12", of_run=True)
    two = commands.add("compare", compare, "Two runs side by side.", "nightgate compare credit 11 12")
    two.add_argument("model")
    two.add_argument("first")
    two.add_argument("second")
    paper = commands.add("report", report, "Where the report of a run is.", "nightgate report credit --open", of_run=True)
    paper.add_argument("--open", action="store_true", help="open it in the browser")
    pages = commands.add("docs", docs, "Build Great Expectations' Data Docs of the last runs' and nights' gates.",
                         "nightgate docs credit --runs 20",
                         begins="Building the pages …")
    pages.add_argument("model")
    pages.add_argument("--runs", type=int, default=10, metavar="N", help="how many of the last runs, 10 when absent")
    pages.add_argument("--open", action="store_true", help="open them in the browser")


def status(arguments: argparse.Namespace) -> Answer:
    """Show where each model stands, and what on the server is not as the definitions say; 2 where a definition is broken."""
    from nightgate.definition.loading import definition_path, definitions_of, load_definition

    place = settings()
    found, broken = ({arguments.model: load_definition(definition_path(place.models, arguments.model))}, {}) if arguments.model \
        else definitions_of(place.models)
    paused, server = _on_the_server(place)
    values = [_status(place, definition, paused) for definition in found.values()]
    told: list[Part] = [*map(Paragraph, broken.values()), *map(Paragraph, server)]
    extra = {"broken": broken, "server": server}
    code = DefinitionError.exit_code if broken else 0
    if arguments.all:
        return Answer({"models": values, **extra}, Document("The last night", place.root.name, [_at_a_glance(values), *told]), code)
    parts: list[Part] = []
    for value in values:
        last = value["last_run"]
        parts += [Heading(value["model"]), Facts([
            ("champion", "none yet" if value["champion"] is None else f"run {value['champion']}"),
            ("last run", "none yet" if last is None else f"{last['run']}, as of {last['as_of']}: {last['verdict']}"),
            ("because", "–" if last is None else last["reason"]),
            ("gates", "–" if last is None else ", ".join(f"{gate['boundary']} {'passed' if gate['success'] else 'stopped'}"
                                                         for gate in last["gates"]) or "none reached"),
            ("running", "no" if value["running"] is None else f"run {value['running']}"),
            ("schedule", f"{value['schedule']['cron']} {value['schedule']['timezone']}, "
             f"{'paused' if value['paused'] else 'next ' + value['next_run']}")])]
    value = {**values[0], "server": server} if arguments.model else {"files": values, **extra}
    return Answer(value, Document("Models", place.root.name, [*parts, *told]), code)


def _on_the_server(place: Settings) -> tuple[set[str], list[str]]:
    """Return the models whose nights are paused, and what else a person should know of the server that is named or runs here."""
    from nightgate.cli.orchestrator import ui_address

    if (address := ui_address(place)) is None:
        return set(), []
    from nightgate.operations import by_hand, deployed

    try:
        found = list(deployed(place, f"{address}/api", waits=()))
    except NightgateError as error:
        return set(), [f"What is paused or changed by hand is not known: {error.message} {error.remedy}"]
    return {name.removeprefix("retraining/") for name in (each.name for each in found if each.paused) if name.startswith("retraining/")}, \
        [by_hand(each.name) for each in found if each.by_hand]


def _at_a_glance(values: list[dict[str, Any]]) -> Table:
    """Return a line a model, those that need somebody first."""
    order = {verdict: place for place, verdict in enumerate(("failed", "stopped", "rolled_back", "waiting"))}
    rows: list[list[str]] = []
    marked: list[int] = []
    for value in sorted(values, key=lambda value: order.get((value["last_run"] or {}).get("verdict", ""), len(order))):
        last = value["last_run"] or {}
        if last.get("verdict") in order:
            marked.append(len(rows))
        rows.append([value["model"], last.get("verdict", "–"), last.get("as_of", "–"), str(value["champion"] or "–"),
                     f"{last['cost']['wall_seconds']:,.0f} s" if last.get("cost") else "–",
                     "–" if last.get("lag") is None else f"{last['lag']:,.0f} s", "paused" if value["paused"] else value["next_run"],
                     last.get("reason", "")[:60]])
    return Table(["model", "verdict", "as of", "serves", "took", "late by", "next", "because"], rows, frozenset({"took", "late by"}),
                 frozenset(marked))


def show_history(arguments: argparse.Namespace) -> Answer:
    """List the runs of a model, newest first."""
    from nightgate.releases import read_pointer

    place = known(arguments.model)
    records = history(place.store, arguments.model)[::-1]
    pointer = read_pointer(place.store, arguments.model)
    serves = None if pointer is None else pointer.version
    rows = [[str(record.run), record.as_of, record.verdict, _figure(record), "now" if record.run == serves else "",
             _took(record), record.run_id] for record in records]
    table = Table(["run", "as of", "verdict", "challenger", "serves", "time", "Prefect run"], rows, frozenset({"run", "time"}),
                  frozenset(number for number, record in enumerate(records) if record.run == serves))
    told = [Paragraph(f"Run {pointer.version} serves: {pointer.why}")] if pointer is not None else []
    return Answer({"model": arguments.model, "champion": serves, "runs": records},
                  Document(arguments.model, counted(len(records), "run"), [table, *told] if rows else []))


def show(arguments: argparse.Namespace) -> Answer:
    """Show one run whole."""
    from nightgate.reports.retraining import report as document

    place = known(arguments.model)
    record = read_record(place.store, arguments.model, arguments.run)
    return Answer(record, document(record))


def compare(arguments: argparse.Namespace) -> Answer:
    """Show two runs side by side: what differs in figures, data, contracts, code and settings."""
    place = known(arguments.model)
    first, second = (read_record(place.store, arguments.model, which) for which in (arguments.first, arguments.second))
    mine, theirs = first.metrics.get("challenger") or {}, second.metrics.get("challenger") or {}
    figures = [[name, _value(mine, name), _value(theirs, name)] for name in {**mine, **theirs}]
    differs = _differences(first, second)
    columns = ["", f"run {first.run}", f"run {second.run}"]
    numbers = frozenset(columns[1:])
    value = {"model": arguments.model, "first": first, "second": second, "differs": sorted(differs)}
    return Answer(value, Document(f"{arguments.model}: {first.run} and {second.run}", "", [
        Callout(f"{first.run}: {first.verdict}", first.reason, "neutral"),
        Callout(f"{second.run}: {second.verdict}", second.reason, "neutral"),
        Heading("On each run's own held-out rows"), Table(columns, figures, numbers),
        Heading("What differs"), Table(columns, [[name, *pair] for name, pair in differs.items()]) if differs
        else Facts([("nothing", "same data, code, settings and model")])]))


def report(arguments: argparse.Namespace) -> Answer:
    """Say where a run's report is, and open it where that is wanted."""
    place = known(arguments.model)
    record = read_record(place.store, arguments.model, arguments.run)
    if record.report is None:
        raise FileMissing(f"Run {record.run} of {arguments.model} has no report: it ended {record.verdict} before one was made.",
                          remedy=f"`nightgate show {arguments.model} {record.run}` tells why.")
    if arguments.open:
        open_page(record.report)
    return Answer({"model": arguments.model, "run": record.run, "report": record.report}, record.report)


def docs(arguments: argparse.Namespace) -> Answer:
    """Build the pages anew; what a masked column holds is hidden in them as it is everywhere."""
    from nightgate import episodes
    from nightgate.contracts.pages import Checked, as_library_json, build

    place, model = known(arguments.model), arguments.model
    if arguments.runs < 1:
        raise UsageError(f"--runs {arguments.runs} is no number of runs.", remedy="Name one or more.")
    read_record(place.store, model)  # says what to do where there is none
    records, nights = history(place.store, model)[-arguments.runs:], episodes.read(place.store, model)[-arguments.runs:]
    found = [(gate_note(place.store, record, gate.boundary)["result"], f"run {record.run}", record.started)
             for record in records for gate in record.gates]
    found += [(night.gate, f"night {night.as_of}", f"{night.as_of}T00:00:00+00:00") for night in nights if night.gate]
    gates = [Checked(json.loads(place.store.read(f"contracts/{result['suite_sha256']}.json")), result, name, datetime.fromisoformat(at))
             for result, name, at in found]
    folder = place.store.folder(f"data-docs/{model}")
    shutil.rmtree(folder)
    page = build(gates, folder)
    if arguments.open:
        open_page(str(page))
    value = {"model": model, "page": str(page), "runs": [record.run for record in records], "results": [*map(as_library_json, gates)]}
    return Answer(value, str(page))


def open_page(address: str) -> None:
    """Open a page, by its path or URL, in the browser. Raises UsageError where there is none."""
    import webbrowser

    if not webbrowser.open(address if "://" in address else f"file://{address}"):
        raise UsageError("There is no browser here.", remedy=f"Open {address} by hand.")


def _status(place: Settings, definition: "Definition", paused: set[str]) -> dict[str, Any]:
    from nightgate.releases import champion_of
    from nightgate.runs import holder_of
    from nightgate.schedules import due

    name = definition.name
    held = holder_of(place.registry, name)
    return {"model": name, "champion": champion_of(place, name), "running": None if held is None else held[0],
            "last_run": read_record(place.store, name).as_json() if run_numbers(place.store, name) else None,
            "schedule": definition.schedule.model_dump(mode="json"), "paused": name in paused,
            "next_run": next(due(definition.schedule, datetime.now(UTC), datetime.max.replace(tzinfo=UTC))).isoformat(timespec="minutes")}


def known(model: str) -> Settings:
    """Return the settings; raise FileMissing when the model is neither defined nor has runs."""
    from nightgate.definition.loading import definition_path

    place = settings()
    if not run_numbers(place.store, model):
        definition_path(place.models, model)
    return place


def _figure(record: RunRecord) -> str:
    challenger = record.metrics.get("challenger")
    if not challenger:
        return "–"
    name = (record.decision.get("comparison") or {}).get("metric") or next(iter(challenger))
    return f"{name} {challenger[name].value:.4g}"


def _took(record: RunRecord) -> str:
    """Return the time from the start of a run to its end."""
    if not record.finished:
        return "–"
    return f"{(datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)).total_seconds():,.0f} s"


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of a definition, `training.seed`, with their values as text."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(figures: Any, name: str) -> str:
    return interval(figures[name]) if name in figures else "–"


def _differences(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    """Return what differs between two runs, as texts."""
    def told(record: RunRecord) -> dict[str, str]:
        said = {"snapshot": (record.dataset or {}).get("sha256", "–")[:12], "rows": str((record.dataset or {}).get("rows", "–")),
                "model": (record.model_sha256 or "–")[:12], "code": record.code,
                "chosen": next((each.name for each in record.candidates if each.chosen), "–")}
        said |= {f"contract {gate.boundary}": gate.sha256[:12] for gate in record.gates}
        said |= {f"version of {name}": number for name, number in record.versions.items()}
        said |= {f"definition {key}": value for key, value in _flat(record.definition)}
        return said
    return differing(told(first), told(second))
