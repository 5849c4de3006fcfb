"""`drill`: inject faults into the last snapshot and see which of them the contracts would have stopped."""

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import FileMissing
from nightgate.records import history
from nightgate.reports.document import Document, Heading, Paragraph, Part, Table
from nightgate.settings import settings
from nightgate.wording import counted

if TYPE_CHECKING:
    from nightgate.drill import Drilled


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add("drill", drill, "Inject faults into the last snapshot; see which the contracts would have stopped.",
                          "nightgate drill credit --write", begins="Injecting one fault after the other …")
    parser.add_argument("model")
    parser.add_argument("--write", action="store_true", help="add the rules that would stop what passed")


def drill(arguments: argparse.Namespace) -> Answer:
    """Drill the contracts of a model with the data of its last run that collected some."""
    from nightgate import drill as drilling
    from nightgate.datasets import Dataset
    from nightgate.definition.loading import definition_path, load_definition

    place, model = settings(), arguments.model
    definition = load_definition(definition_path(place.models, model))
    record = next((each for each in reversed(history(place.store, model)) if each.dataset is not None), None)
    if record is None or record.dataset is None:
        raise FileMissing(f"{model} has no snapshot yet.", remedy=f"`nightgate run {model}` collects one.")
    with tempfile.TemporaryDirectory(prefix="nightgate-") as folder:
        found = [*drilling.drill(definition, place, Dataset.from_json(dict(record.dataset)), as_of=date.fromisoformat(record.as_of),
                                 folder=Path(folder))]
    added = drilling.add_rules(place, model, found) if arguments.write else {}
    value = {"model": model, "run": record.run, "faults": found, "added": added}
    passed = [each for each in found if each.outcome == "passed"]
    told = f"{len(found) - len(passed)} of {counted(len(found), 'fault')} in the data of run {record.run} would have been stopped"
    return Answer(value, Document(f"{model} drilled", told, _told(model, found, sum(map(len, added.values())), written=arguments.write)))


def _told(model: str, found: Sequence["Drilled"], added: int, *, written: bool) -> list[Part]:
    kinds = dict.fromkeys(each.kind for each in found)
    parts: list[Part] = [Table(["fault", "injected", "stopped", "by, for example"], [_row(kind, found) for kind in kinds],
                               frozenset({"injected", "stopped"}))]
    if passed := [each for each in found if each.outcome == "passed"]:
        parts += [Heading("What would have passed"),
                  Table(["fault", "in", "a rule that would stop it"],
                        [[each.kind, ", ".join(each.columns), _rule(each)] for each in passed])]
    if added:
        parts.append(Paragraph(f"{counted(added, 'rule')} added to data_contracts/{model}."))
    elif not written and any(each.rule for each in passed):
        parts.append(Paragraph(f"`nightgate drill {model} --write` adds the rules."))
    return parts


def _row(kind: str, found: Sequence["Drilled"]) -> list[str]:
    mine = [each for each in found if each.kind == kind]
    stopped = [each for each in mine if each.outcome != "passed"]
    first = next(iter(stopped), None)
    by = "" if first is None else "undone by the collector" if first.outcome == "mended" else f"{first.boundary}: {first.by}"
    return [kind, str(len(mine)), str(len(stopped)), by if len(by) <= 90 else by[:89] + "…"]


def _rule(passed: "Drilled") -> str:
    if passed.rule is not None:
        return f"{passed.boundary}: {passed.rule['notes']} ({passed.rule['type'].removeprefix('expect_')})"
    if passed.kind == "half of the rows gone":
        return "`nightgate contract learn`, from the counts of several nights"
    if passed.kind == "stale copy of yesterday":
        return "`nightly = true` under [source], if rows come every night"
    return "none that lets every clean night pass"
