"""Commands of an author: init, new, check, schema."""

import argparse
import json
from collections import Counter
from pathlib import Path

from nightgate.cli.parsing import Answer, Commands
from nightgate.errors import DefinitionError, SuiteError
from nightgate.reports.document import Document, Facts, Heading, Paragraph, Part
from nightgate.settings import Settings, settings
from nightgate.wording import counted


def add(commands: Commands) -> None:
    """Declare the commands."""
    begin = commands.add("init", init, "Write a project of your own.", "nightgate init credit-models")
    begin.add_argument("folder", metavar="DIR")
    begin.add_argument("--upgrade", action="store_true", help="show what a newer Nightgate would change, and change it")
    begin.add_argument("--yes", action="store_true", help="with --upgrade: do not ask")
    make = commands.add("new", new, "Make a model from data.", "nightgate new credit --data german.csv --target class",
                        begins="Reading the data …")
    make.add_argument("name")
    make.add_argument("--data", required=True, help="file, folder, URL, SQLAlchemy URL, sklearn:NAME or stream:NAME")
    make.add_argument("--target", required=True, metavar="COLUMN", help="what is predicted")
    make.add_argument("--entity", action="append", default=[], metavar="COLUMN", help="key of what a row is about; may repeat")
    make.add_argument("--time", metavar="COLUMN", help="event time")
    make.add_argument("--arrived", metavar="COLUMN", help="when a row arrived: a run sees only what had arrived by then")
    make.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="private: never kept; may repeat")
    make.add_argument("--mask", action="append", default=[], metavar="COLUMN", help="private: kept as tokens; may repeat")
    make.add_argument("--query", help="SQL with :start and :end, for an SQLAlchemy URL")
    make.add_argument("--task", choices=("binary", "multiclass", "regression"), help="guessed when absent")
    make.add_argument("--positive", metavar="VALUE", help="the class whose probability is predicted; guessed when absent")
    make.add_argument("--header", action=argparse.BooleanOptionalAction, help="whether a CSV file begins with names; seen when absent")
    for key in ("separator", "decimal", "encoding"):
        make.add_argument(f"--{key}", help=f"of a CSV file: its {key}")
    look = commands.add("check", check, "Tell every mistake of definitions and contracts; run nothing.", "nightgate check credit")
    look.add_argument("model", nargs="?", help="all models when absent")
    commands.add("schema", schema, "Print the JSON schema of a definition.", "nightgate schema > models/definition.schema.json")


def init(arguments: argparse.Namespace) -> Answer:
    """Write the skeleton of a project, or bring one up to date."""
    from nightgate.skeleton import upgrade, write

    folder = Path(arguments.folder).resolve()
    if arguments.upgrade:
        changes = upgrade(folder, ask=not arguments.yes and not arguments.json)
        told = f"{counted(len(changes), 'file')} changed." if changes else "Nothing to change."
        return Answer({"folder": str(folder), "changed": changes}, told)
    written = write(folder)
    return Answer({"folder": str(folder), "written": written},
                  f"{folder} holds a project now: {counted(len(written), 'file')}.\n"
                  f"Go on with: cd {arguments.folder} && nightgate run breast_cancer")


def new(arguments: argparse.Namespace) -> Answer:
    """Make a model and tell what was guessed."""
    from nightgate.authoring import Wanted, make

    place = settings()
    source = {"data": arguments.data, **{key: value for key in ("query", "arrived", "separator", "header", "decimal", "encoding")
                                         if (value := getattr(arguments, key)) is not None}}
    made = make(place, Wanted(arguments.name, source, arguments.target, tuple(arguments.entity), arguments.time,
                              arguments.task, arguments.positive, tuple(arguments.drop), tuple(arguments.mask)))
    guesses = made.guesses
    told = [("task", guesses.task), *([("positive", str(guesses.positive))] if guesses.positive else []),
            *([("entity", ", ".join(guesses.entity))] if guesses.entity else []), *([("time", guesses.time)] if guesses.time else [])]
    kinds = Counter(made.types.values())
    told.append(("types", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())))
    facts = [(key, f"{value}  ({guesses.told[key]})" if key in guesses.told else value) for key, value in told]
    facts += [("left out", f"{counted(rows, 'row')}: {why}") for why, rows in made.dropped.items()]
    facts += [("infinite", f"{counted(made.infinite, 'value')} will count as missing")] * bool(made.infinite)
    facts += [(f"without {column}", reason) for column, reason in guesses.excluded.items()]
    files = [str(path.relative_to(place.root)) for path in (made.definition, *made.contracts)]
    value = {"model": arguments.name, "files": files, "rows": made.rows, **dict(told), "types": made.types,
             "left_out": made.dropped, "infinite": made.infinite, "excluded": guesses.excluded}
    return Answer(value, Document(arguments.name, f"{counted(made.rows, 'row')} read", [
        Facts(facts), Heading("Written"), *(Paragraph(file) for file in files),
        Paragraph(f"Read them, then: nightgate run {arguments.name}")]))


def check(arguments: argparse.Namespace) -> Answer:
    """Read definitions and contracts; tell all mistakes."""
    from nightgate.checking import warnings
    from nightgate.definition.loading import model_names

    place = settings()
    names = [arguments.model] if arguments.model else model_names(place.models)
    found = {name: _mistakes(place, name) for name in names}
    warned = {name: [*warnings(place, name)] for name in names}
    broken = sum(bool(mistakes) for mistakes in found.values())
    parts: list[Part] = []
    for name, mistakes in found.items():
        parts.append(Paragraph(f"{name}: {counted(len(mistakes), 'mistake') if mistakes else 'fine'}"))
        parts += [Paragraph(told) for told in (*mistakes, *warned[name])]
    files = [{"data": name, "success": not mistakes, "mistakes": mistakes, "warnings": warned[name]} for name, mistakes in found.items()]
    return Answer({"files": files}, Document("Check", f"{counted(len(names), 'model')}, {broken} with mistakes", parts), 2 if broken else 0)


def schema(_: argparse.Namespace) -> Answer:
    """Print the schema."""
    from nightgate.definition.model import Definition

    value = Definition.model_json_schema()
    return Answer(value, json.dumps(value, indent=2))


def _mistakes(place: Settings, name: str) -> list[str]:
    from nightgate.checking import mistakes
    from nightgate.definition.loading import definition_path

    try:
        return mistakes(place, definition_path(place.models, name))
    except (DefinitionError, SuiteError) as error:
        return error.message.splitlines()

