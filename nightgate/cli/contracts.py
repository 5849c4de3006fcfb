"""`contract`: accept what a gate stopped, learn from many nights, see what changed since a run and which versions runs used."""

import argparse
import difflib
import json
import sys
from datetime import UTC, date, datetime
from typing import Any

from nightgate.cli import running
from nightgate.cli.changing import user
from nightgate.cli.parsing import Answer, Commands
from nightgate.contracts.suites import read_suite
from nightgate.errors import FileMissing, UsageError
from nightgate.records import KEPT_BY, GateNumbers, RunRecord, data_of, gate_note, history, read_record
from nightgate.reports.document import Document, Heading, Paragraph, Part, Table
from nightgate.settings import Settings, settings
from nightgate.wording import agreed, counted


def add(commands: Commands) -> None:
    """Declare the command with its four words."""
    parser = commands.add("contract", contract, "Accept what a gate stopped, learn from many nights, see how a contract changed.",
                          'nightgate contract accept credit 12 --reason "a new branch has opened"', begins="Reading the runs …")
    parser.add_argument("word", choices=("accept", "diff", "history", "learn"),
                        help="accept: widen the rules that failed, by what was seen; diff: against a run's version; history: all versions; "
                             "learn: infer raw and features anew from the nights that passed")
    parser.add_argument("model")
    parser.add_argument("run", nargs="?", help="number or Prefect's run id; the last one when absent")
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="with accept: place, column or type of failed checks; all when absent")
    parser.add_argument("--reason", default="", help="with accept: why the data were right")
    parser.add_argument("--again", action="store_true", help="with accept: run that night again at once; on a terminal it is offered")


def contract(arguments: argparse.Namespace) -> Answer:
    """Do what the word says."""
    words = {"accept": accept, "diff": diff, "history": versions, "learn": learn}
    return words[arguments.word](arguments, settings())


def accept(arguments: argparse.Namespace, place: Settings) -> Answer:
    """Widen the rules that stopped a run by what it saw, and write down who said so and why."""
    from nightgate.contracts.accepting import Reason, chosen_places
    from nightgate.contracts.accepting import accept as widened
    from nightgate.contracts.suites import parse_suite
    from nightgate.contracts.writing import replace_suite
    from nightgate.definition.model import Definition
    from nightgate.schedules import window_of

    if not arguments.reason.strip():
        raise UsageError("--reason is needed: whoever reads the contract later wants to know why.",
                         remedy='Add it as in --reason "a new branch has opened".')
    record = read_record(place.store, arguments.model, arguments.run)
    gate = _stopped(record)
    path = place.contracts_of(record.model) / f"{gate.boundary}.json"
    before = _now(place, record.model, gate.boundary)
    then = parse_suite(json.loads(place.store.read(f"contracts/{gate.sha256}.json")), place=path.name)
    failed = gate_note(place.store, record, gate.boundary)["result"]["results"]
    reason = Reason(record.run, user(), datetime.now(UTC).isoformat(timespec="seconds"), arguments.reason.strip())
    with place.store.local_copy(_data(place, record, gate)) as data:
        night = window_of(Definition.model_validate_json(json.dumps(record.definition)), date.fromisoformat(record.as_of)).end
        after, changes = widened(path, then, data, chosen_places(failed, arguments.checks), reason, now=night)
    replace_suite(path, after)
    changed = _difference(before, after, path.name, f"{path.name}, accepted")
    again = f"nightgate run {record.model} --as-of {record.as_of}"
    value = {"model": record.model, "run": record.run, "boundary": gate.boundary, "reason": reason.why, "by": reason.by,
             "changes": changes, "then": again}
    rules = "1 rule is" if len(changes) == 1 else f"{len(changes)} rules are"
    told = f"{changed}\n{rules} widened by what run {record.run} saw."
    offered = not arguments.again and sys.stdin.isatty() and not arguments.json
    if not arguments.again and not (offered and agreed(f"{told} Run it again now?")):
        return Answer(value, f"{told} Run it again: {again}")
    overrides = [f"{key}={value}" for key, value in record.overrides.items()]
    return running.run(argparse.Namespace(models=[record.model], all=False, as_of=date.fromisoformat(record.as_of), set=overrides,
                                          json=arguments.json, reason=f"accepted what run {record.run} saw: {reason.why}"))


def learn(arguments: argparse.Namespace, place: Settings) -> Answer:
    """Infer the contracts of raw data and features from the nights that passed; what a person wrote or accepted stays."""
    from nightgate.contracts.writing import as_text, replace_suite
    from nightgate.definition.loading import definition_path, load_definition
    from nightgate.relearning import learn as learn_from_nights

    model = arguments.model
    definition = load_definition(definition_path(place.models, model))
    suites, runs = learn_from_nights(place, definition)
    changed = {}
    for boundary, suite in suites.items():
        before, after = _now(place, model, boundary), as_text(suite)
        changed[boundary] = _difference(before, after, f"{boundary}.json", f"{boundary}.json, learnt")
        replace_suite(place.contracts_of(model) / f"{boundary}.json", after)
    told = f"Learnt from {counted(len(runs), 'night')}, runs {runs[0]} to {runs[-1]}."
    return Answer({"model": model, "runs": runs, "changed": changed}, "\n".join([*filter(None, changed.values()), told]))


def diff(arguments: argparse.Namespace, place: Settings) -> Answer:
    """Show what changed in a model's contracts since a run."""
    record = read_record(place.store, arguments.model, arguments.run)
    found = {gate.boundary: _difference(place.store.read(f"contracts/{gate.sha256}.json").decode(),
                                        _now(place, record.model, gate.boundary), f"{gate.boundary}.json of run {record.run}",
                                        f"{gate.boundary}.json now") for gate in record.gates}
    changed = {boundary: text for boundary, text in found.items() if text}
    return Answer({"model": record.model, "run": record.run, "changed": changed},
                  "\n".join(changed.values()) or f"Nothing changed since run {record.run}.")


def versions(arguments: argparse.Namespace, place: Settings) -> Answer:
    """List which version of each contract runs were checked against, and what was accepted since."""
    used: dict[tuple[str, str], list[int]] = {}
    for record in history(place.store, arguments.model):
        for gate in record.gates:
            used.setdefault((gate.boundary, gate.sha256), []).append(record.run)
    rows = [[boundary, sha256[:12], _runs(runs)] for (boundary, sha256), runs in used.items()]
    accepted = list(_accepted(place, arguments.model))
    parts: list[Part] = [Table(["boundary", "version", "runs"], rows)] if rows else []
    if accepted:
        parts += [Heading("Accepted"), *(Paragraph(f"{each['boundary']} {each['place']} ({each['type']}), run {each['run']}, {each['at']}, "
                                                   f"{each['by']}: {each['why']}") for each in accepted)]
    value = {"model": arguments.model, "accepted": accepted,
             "versions": [{"boundary": boundary, "sha256": sha256, "runs": runs} for (boundary, sha256), runs in used.items()]}
    return Answer(value, Document(arguments.model, f"{counted(len(rows), 'version')} of contracts", parts))


def _stopped(record: RunRecord) -> GateNumbers:
    gate = next((gate for gate in record.gates if not gate.success), None)
    if gate is None:
        raise UsageError(f"Run {record.run} of {record.model} was not stopped by a contract: it is {record.verdict}.",
                         remedy=f"`nightgate history {record.model}` lists the runs.")
    return gate


def _data(place: Settings, record: RunRecord, gate: GateNumbers) -> str:
    if gate.boundary not in KEPT_BY:
        raise UsageError(f"The {gate.boundary} contract is about the model itself; what it bounds is the owner's to say.",
                         remedy=f"Change data_contracts/{record.model}/{gate.boundary}.json by hand.")
    return data_of(place.store, record, gate.boundary).uri


def _now(place: Settings, model: str, boundary: str) -> str:
    path = place.contracts_of(model) / f"{boundary}.json"
    if not path.is_file():
        raise FileMissing(f"There is no contract {model}/{path.name}.", remedy="Bring it back from version control.")
    return path.read_text(encoding="utf-8")


def _accepted(place: Settings, model: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted(place.contracts_of(model).glob("*.json")):
        for each in read_suite(path).checks:
            accepted = (each.meta.get("nightgate") or {}).get("accepted", [])
            found += [{"boundary": path.stem, "place": each.place, "type": each.type, **one} for one in accepted]
    return sorted(found, key=lambda each: str(each["at"]))


def _difference(before: str, after: str, first: str, second: str) -> str:
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), first, second, n=1))


def _runs(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} ({len(numbers)})"
