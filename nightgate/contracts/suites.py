"""Reading suites strictly: what cannot be understood is refused, every mistake at once, each with its place in the file.

Great Expectations itself drops an unknown expectation with a log line and passes a check without bounds; nothing of that
kind gets past this file. Reading needs neither Great Expectations nor DuckDB.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import Condition, parse_condition
from nightgate.contracts.drifting import filled
from nightgate.contracts.mistakes import (
    WITHOUT_EFFECT,
    exact,
    known_expectations,
    of_expectation,
    of_file,
    query_condition,
    type_of,
)
from nightgate.errors import FileMissing, SuiteError, bounded
from nightgate.wording import counted

__all__ = ["Check", "Suite", "known_expectations", "parse_suite", "read_suite"]

LARGEST_FILE = 5 * 2**20
DEEPEST = 30


PLACE = "expectations["


@dataclass(frozen=True)
class Check:
    """One expectation. `place` is where it stands in the file; `columns` are all that it names."""

    type: str
    arguments: Mapping[str, Any]
    columns: tuple[str, ...]
    mostly: float
    condition: Condition | None
    severity: str
    notes: str
    meta: Mapping[str, Any]
    place: str


@dataclass(frozen=True)
class Suite:
    """A contract as it stands in its file, `content`; `quarantine` is the share of rows that may be set aside."""

    name: str
    checks: tuple[Check, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = b""
    quarantine: float = 0.0
    folder: Path = Path()
    """Where the files are that its rules name."""

    @property
    def columns(self) -> Mapping[str, Any] | None:
        """The types that columns keep from night to night, by their names; None where none were decided."""
        found: Mapping[str, Any] | None = (self.meta.get("nightgate") or {}).get("columns")
        return found

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest() if self.content else ""


def read_suite(path: Path) -> Suite:
    """Read a suite file of any Great Expectations version. Raises FileMissing, and SuiteError with every mistake."""
    place = f"{path.parent.name}/{path.name}" if path.parent.name else path.name
    if not path.is_file():
        raise FileMissing(f"There is no contract {place}.", remedy=f"Write {path}, or `nightgate new`.")
    if path.stat().st_size > LARGEST_FILE:
        raise SuiteError(f"{path.name} is {path.stat().st_size:,} bytes; a suite has at most {LARGEST_FILE:,}.",
                         remedy="A set of that size belongs into a table of its own.")
    content = path.read_bytes()
    try:
        value = json.loads(content, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{place} is no suite: {bounded(str(error), 300)}.",
                         remedy="It must be one JSON object, as Great Expectations writes it.") from None
    suite = replace(parse_suite(value, place=place, content=content), folder=path.parent)
    own = f"{path.parent.name}.{path.stem}"
    if path.parent.parent.name == "data_contracts" and "nightgate" in suite.meta and "." in suite.name and suite.name != own:
        raise _refused(place, [f"name: found `{suite.name}`, the contract of another model or boundary; here stands `{own}`"])
    return suite


def parse_suite(value: Any, *, place: str, content: bytes = b"") -> Suite:
    """Return the suite of a JSON value. Raises SuiteError with every mistake."""
    if _depth(value) > DEEPEST:
        raise _refused(place, [f"(file): nests deeper than {DEEPEST}"])
    mistakes = list(of_file(value))
    if mistakes:
        raise _refused(place, mistakes)
    checks = []
    for number, each in enumerate(_filled(value)):
        found = list(of_expectation(each))
        mistakes += [f"expectations[{number}]{where}: {what}" for where, what in found]
        if not found:
            checks.append(_check(each, f"{PLACE}{number}]"))
    mistakes += [*_clashes(checks), *_contradictions(checks)]
    if mistakes:
        raise _refused(place, mistakes)
    own = (value.get("meta") or {}).get("nightgate") or {}
    return Suite(str(value.get("name") or value.get("expectation_suite_name") or place), tuple(checks), value.get("meta") or {},
                 content, float(own.get("quarantine", 0.0)))


def _filled(value: Mapping[str, Any]) -> list[Any]:
    """Return a suite's expectations with the parameters that it gives itself."""
    given = {**(value.get("evaluation_parameters") or {}), **(value.get("suite_parameters") or {})}
    return [{**each, "kwargs": {key: _given(item, given) for key, item in each["kwargs"].items()}}
            if isinstance(each, dict) and isinstance(each.get("kwargs"), dict) else each for each in value["expectations"]]


def _given(item: Any, given: Mapping[str, Any]) -> Any:
    name = item.get("$PARAMETER") if isinstance(item, dict) and item.keys() == {"$PARAMETER"} else None
    return given[name] if isinstance(name, str) and name in given else item


def current_form(suite: Suite) -> dict[str, Any]:
    """Return a suite's JSON as the current version of the library writes it, whichever wrote it."""
    value: dict[str, Any] = json.loads(suite.content)
    rules = [{"type": type_of(each), **{key: item for key, item in each.items() if key not in ("type", "expectation_type", "meta")},
              "meta": each.get("meta") or {}} for each in value["expectations"]]
    rest = {key: item for key, item in value.items() if key not in ("expectation_suite_name", "name", "expectations", "meta")}
    return {"name": suite.name, **rest, "expectations": rules, "meta": value.get("meta") or {}}


def number_of(place: str) -> int:
    """Return which expectation of the file a check's place names."""
    return int(place.removeprefix(PLACE).removesuffix("]"))


def _check(each: Mapping[str, Any], place: str) -> Check:
    written = filled(type_of(each), each["kwargs"])
    arguments = {key: value for key, value in written.items() if value is not None and key not in WITHOUT_EFFECT}
    text = arguments.pop("row_condition", None)
    condition = None if text is None else parse_condition(text)
    columns = [arguments[key] for key in ("column", "column_A", "column_B") if key in arguments]
    columns += arguments.get("column_list", [])
    if "unexpected_rows_query" in arguments:
        columns += parse_condition(query_condition(arguments["unexpected_rows_query"])).columns
    return Check(type_of(each), arguments, tuple(map(str, columns)), float(arguments.get("mostly", 1.0)), condition,
                 each.get("severity") or "critical", str(each.get("notes") or ""), each.get("meta") or {}, place)


def _clashes(checks: list[Check]) -> Iterator[str]:
    """Yield columns that differ by case only (the library takes the first), and rules written twice."""
    spellings: dict[str, set[str]] = {}
    seen: dict[str, str] = {}
    for check in checks:
        for column in check.columns:
            spellings.setdefault(column.casefold(), set()).add(column)
        condition = check.condition.sql if check.condition else ""
        arguments = {name: value for name, value in check.arguments.items() if (name, value) != ("mostly", 1)}
        key = json.dumps(_whole([check.type, arguments, condition]), sort_keys=True, default=str)
        if key in seen:
            yield f"{check.place}: repeats {seen[key]}"
        seen.setdefault(key, check.place)
    for names in spellings.values():
        if len(names) > 1:
            yield f"columns {', '.join(f'`{name}`' for name in sorted(names))} differ by case only"


def _contradictions(checks: list[Check]) -> Iterator[str]:
    """Yield rules that no column can keep together: ranges apart from each other, sets without a common value, a set outside a range."""
    told: dict[str, list[Check]] = {}
    for check in checks:
        if check.condition is None and check.type in CONFINING and isinstance(check.arguments.get("value_set", []), list):
            told.setdefault(check.arguments["column"], []).append(check)
    for column, several in told.items():
        for first, second in itertools.combinations(several, 2):
            if first.mostly + second.mostly > 1 and _apart(first, second):
                yield f"{second.place}: contradicts {first.place}: no value of `{column}` can keep both"


CONFINING = ("expect_column_values_to_be_between", "expect_column_values_to_be_in_set")


def _apart(first: Check, second: Check) -> bool:
    """Whether no value is allowed by both; what cannot be compared is not said to be apart."""
    try:
        if "value_set" in first.arguments and "value_set" in second.arguments:
            return not {*first.arguments["value_set"]} & {*second.arguments["value_set"]}
        if "value_set" in first.arguments or "value_set" in second.arguments:
            values, bounds = (first, second) if "value_set" in first.arguments else (second, first)
            return not any(_within(value, bounds.arguments) for value in values.arguments["value_set"])
        lower = [check.arguments["min_value"] for check in (first, second) if "min_value" in check.arguments]
        upper = [check.arguments["max_value"] for check in (first, second) if "max_value" in check.arguments]
        return bool(lower and upper) and max(lower) > min(upper)
    except TypeError:
        return False


def _within(value: Any, bounds: Mapping[str, Any]) -> bool:
    return bool(bounds.get("min_value", value) <= value <= bounds.get("max_value", value))


def _whole(value: Any) -> Any:
    """Return a value with 1 for every 1.0."""
    return json.loads(json.dumps(value, default=str), parse_float=lambda text: exact(float(text)))


def _depth(value: Any) -> int:
    """Return how deep lists and objects nest, without recursion: a file may nest deeper than Python's stack."""
    depth, level = 0, [value]
    while level := [inner for each in level if isinstance(each, dict | list)
                    for inner in (each.values() if isinstance(each, dict) else each)]:
        depth += 1
    return depth


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key `{next(name for name in names if names.count(name) > 1)}` stands twice in one object")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number and bounds nothing")


def _refused(place: str, mistakes: list[str]) -> SuiteError:
    count = counted(len(mistakes), "mistake")
    return SuiteError(f"{place} has {count}:\n" + "\n".join(f"  {mistake}" for mistake in mistakes),
                      remedy="Mend the file; nothing passes a contract that is not understood.", details={"mistakes": mistakes})
