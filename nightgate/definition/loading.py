"""Reading a definition: every mistake at once, each with its place, what was found, what is allowed, what to do."""

import re
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nightgate.addresses import holds_secret, shown
from nightgate.definition.model import METRICS_OF, Definition
from nightgate.errors import DefinitionError, FileMissing, bounded
from nightgate.wording import counted, meant

LONGEST_FOUND = 80
"""Characters of a found value that a mistake repeats."""

BUILT_IN = ("logistic", "linear", "forest", "boosting")


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in a definition; `line` is 0 when the key is not written in the file."""

    key: str
    found: str
    allowed: str
    suggestion: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, " if self.line else ""
        hint = f" {self.suggestion}" if self.suggestion else ""
        return f"{place}{self.key}: found {self.found}; allowed: {self.allowed}.{hint}"


def definition_path(models: Path, name: str) -> Path:
    """Return the path of a model's definition; raise FileMissing naming the models there are."""
    path = models / f"{name}.toml"
    if not path.is_file():
        known = model_names(models)
        hint = meant(name, known) or f"Models here: {', '.join(known) or 'none yet'}."
        raise FileMissing(f"There is no model `{name}`: {path} is not a file.",
                          remedy=f"{hint} `nightgate new {name} --data … --target …` makes one.")
    return path


def model_names(models: Path) -> list[str]:
    """Return the names of all models of a project, sorted."""
    return sorted(path.stem for path in models.glob("*.toml"))


def load_definition(path: Path, overrides: dict[str, str] | None = None) -> Definition:
    """Read one definition; `overrides` are `section.key=value` pairs, values in TOML's notation or plain text.

    Raises DefinitionError with every mistake.
    """
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, [Mistake("(file)", f"invalid TOML: {error}", "TOML 1.0")]) from None
    mistakes = [*_override(values, overrides or {})]
    definition, found = parse_definition(values)
    mistakes += found
    if definition is not None and definition.name != path.stem:
        mistakes.append(Mistake("name", f"`{definition.name}`", f"the file's own name, `{path.stem}`"))
    if mistakes or definition is None:
        raise _refused(path, [_placed(mistake, text) for mistake in mistakes], overridden=bool(overrides))
    return definition


def definitions_of(models: Path) -> tuple[dict[str, Definition], dict[str, str]]:
    """Return the definition of each model by its name, and why those cannot be read that cannot: one mistake stops no other model."""
    found, broken = {}, {}
    for name in model_names(models):
        try:
            found[name] = load_definition(definition_path(models, name))
        except DefinitionError as error:
            broken[name] = error.message
    return found, broken


def understood(path: Path) -> Definition | None:
    """Return what is well formed in a definition that has mistakes, so that the rest can be checked too; None if that is too little."""
    try:
        values: dict[str, Any] | None = tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, DefinitionError):
        return None
    while values is not None:
        try:
            return Definition.model_validate(values)
        except ValidationError as error:
            values = _without(values, error.errors())
    return None


def parse_definition(values: dict[str, Any]) -> tuple[Definition | None, list[Mistake]]:
    """Return the definition, or None, and every mistake; what contradicts itself is found beside what is malformed."""
    try:
        definition = Definition.model_validate(values)
    except ValidationError as error:
        details = error.errors()
        rest = _without(values, details)
        return None, [*map(_mistake, details), *(parse_definition(rest)[1] if rest is not None else [])]
    return definition, contradictions(definition)


def contradictions(definition: Definition) -> list[Mistake]:
    """Return what is well formed but does not fit together."""
    found = [*_of_task(definition), *_of_columns(definition)]
    if definition.window.days is not None and definition.time is None:
        found.append(Mistake("window.days", "no event time", "a model with `time`", "Name the column of event time."))
    data = definition.source.data
    if definition.source.query is not None and not ("://" in data or data.startswith("${")):  # the run sees what that is
        found.append(Mistake("source.query", f"a query beside `{data}`", "an SQLAlchemy URL in data"))
    if holds_secret(definition.source.data):
        found.append(Mistake("source.data", f"`{shown(definition.source.data)}`, with a secret in it",
                             "one that is left to the environment", "Write it as `${NAME}` and set NAME where the run starts."))
    return found


def _of_task(definition: Definition) -> list[Mistake]:
    found = []
    task, metric = definition.task, definition.training.metric
    if task == "binary" and definition.positive is None:
        found.append(Mistake("positive", "nothing", "the class whose probability is predicted",
                             "Add such a line as `positive = \"yes\"`."))
    if task != "binary" and definition.positive is not None:
        found.append(Mistake("positive", repr(definition.positive), f"nothing for a {task} model", "Remove the line."))
    if metric is not None and metric not in METRICS_OF[task]:
        found.append(Mistake("training.metric", f"`{metric}`", ", ".join(METRICS_OF[task]) + f" for a {task} model"))
    if task != "binary" and (definition.threshold.value is not None or definition.threshold.costs is not None):
        found.append(Mistake("threshold", "a threshold", f"none for a {task} model", "Remove the section."))
    for name, candidate in definition.candidates.items():
        if "." not in candidate.estimator and candidate.estimator not in BUILT_IN:
            found.append(Mistake(f"candidates.{name}.estimator", f"`{candidate.estimator}`",
                                 ", ".join(BUILT_IN) + ", or an import path such as `lightgbm.LGBMClassifier`",
                                 meant(candidate.estimator, BUILT_IN)))
    return found


def _of_columns(definition: Definition) -> list[Mistake]:
    columns, privacy = definition.columns, definition.privacy
    found = [Mistake(key, f"the target `{definition.target}`", "other columns")
             for key, names in (("columns.exclude", columns.exclude), ("privacy.drop", privacy.drop))
             if definition.target in names]
    if definition.time is not None and definition.time in (*privacy.mask, *privacy.drop):
        found.append(Mistake("privacy", f"the event time `{definition.time}`", "other columns: it must stay a date"))
    found += [Mistake("entity", f"`{name}`, {role}", "another column") for role, name in (("the target", definition.target),
              ("the event time", definition.time)) if name in definition.entity]
    found += [Mistake("privacy.mask", f"the target `{definition.target}`", "other columns: what is predicted must stay known")
              ] if definition.target in privacy.mask else []
    found += [Mistake("columns", f"`{name}` in both exclude and allow", "one of the two")
              for name in sorted({*columns.exclude} & {*columns.allow})]
    found += [Mistake("privacy", f"`{name}` in both drop and mask", "one of the two")
              for name in sorted({*privacy.drop} & {*privacy.mask})]
    kinds = {"numeric": columns.numeric, "categorical": columns.categorical, "date": columns.date, "text": columns.text}
    seen: dict[str, str] = {}
    for kind, names in kinds.items():
        for name in names:
            if seen.setdefault(name, kind) != kind:
                found.append(Mistake(f"columns.{kind}", f"`{name}`, also in columns.{seen[name]}", "one kind a column"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _refused(path, [Mistake("(file)", f"bytes that are not UTF-8 at {error.start}", "UTF-8")]) from None


def _refused(path: Path, mistakes: list[Mistake], *, overridden: bool = False) -> DefinitionError:
    count = counted(len(mistakes), "mistake")
    lines = "\n".join(f"  {mistake}" for mistake in mistakes)
    return DefinitionError(f"{path.parent.name}/{path.name}{' with what --set says' if overridden else ''} has {count}:\n{lines}",
                           remedy=f"{'Change --set' if overridden else 'Mend the file'}, then `nightgate check {path.stem}`.",
                           details={"mistakes": [asdict(mistake) for mistake in mistakes]})


def _mistake(detail: ErrorDetails) -> Mistake:
    key = ".".join(str(part) for part in detail["loc"] if not _is_branch(part)) or "(file)"
    found = bounded(repr(detail["input"]), LONGEST_FOUND)
    match detail["type"]:
        case "extra_forbidden":
            allowed = _keys_at(detail["loc"][:-1])
            return Mistake(key, "an unknown key", ", ".join(allowed) or "no such section", meant(str(detail["loc"][-1]), allowed))
        case "missing":
            return Mistake(key, "nothing", "a value: it is required")
        case "string_pattern_mismatch":
            return Mistake(key, found, _EXAMPLES.get(str(detail["loc"][-1]), f"text like {detail['ctx']['pattern']}"))
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
            return Mistake(key, found, detail["ctx"]["expected"], meant(str(detail["input"]), allowed))
        case "value_error":
            return Mistake(key, found, str(detail["ctx"]["error"]))
        case _:
            message = detail["msg"]
            return Mistake(key, found, message[0].lower() + message[1:])


_EXAMPLES = {"false": "a budget such as `10 % a month`", "false_stops": "a budget such as `1 per quarter`",
             "name": "small letters, digits and _, starting with a letter", "own": "an import string such as `models.credit:features`"}


def _is_branch(part: int | str) -> bool:
    """Say whether a part of pydantic's location names a member of a union instead of a key of the file."""
    return isinstance(part, str) and (part in {"bool", "int", "float", "str", "none"} or "[" in part)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Definition
    for part in location:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            continue  # the name of a candidate
        inner = [field.annotation, *get_args(field.annotation)]
        model = next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if model is None:
            return []
    return sorted(model.model_fields)


def _without(values: dict[str, Any], details: list[ErrorDetails]) -> dict[str, Any] | None:
    """Return the values without the malformed ones, or None when a required key is missing or nothing can be taken."""
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for detail in details:
        section, *inner = detail["loc"]
        if detail["type"] == "missing" or (section in ("name", "task", "target", "source") and not inner):
            return None
        if inner and isinstance(rest.get(str(section)), dict):
            rest[str(section)].pop(inner[0], None)
        else:
            rest.pop(str(section), None)
    return rest


def _override(values: dict[str, Any], overrides: dict[str, str]) -> list[Mistake]:
    """Set `section.key` in place; return one mistake for each that names no place."""
    mistakes = []
    for key, text in overrides.items():
        *sections, last = key.split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                mistakes.append(Mistake(key, f"`{section}`, a value", "a section"))
                break
        else:
            table[last] = _value(text)
    return mistakes


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _placed(mistake: Mistake, text: str) -> Mistake:
    """Return the mistake with the line on which its key stands."""
    *sections, last = mistake.key.split(".")
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            section = header[1].replace('"', "")
            if section == mistake.key:
                return replace(mistake, line=number)
        elif section == ".".join(sections) and re.match(rf"\s*\"?{re.escape(last)}\"?\s*=", line):
            return replace(mistake, line=number)
    return mistake
