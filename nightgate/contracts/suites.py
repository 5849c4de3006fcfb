"""Reading suites strictly: what cannot be understood is refused, every mistake at once, each with its place in the file.

Great Expectations itself drops an unknown expectation with a log line and passes a check without bounds; nothing of that
kind gets past this file. Reading needs neither Great Expectations nor DuckDB.
"""

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import Condition, parse_condition
from nightgate.errors import FileMissing, SuiteError, bounded

LARGEST_FILE = 5 * 2**20
DEEPEST = 30
SEVERITIES = ("critical", "warning", "info")
LARGEST_EXACT = 2**53
"""Whole numbers beyond it become other numbers as floats, and Great Expectations makes them floats."""

WITHOUT_EFFECT = frozenset({"condition_parser", "ignore_row_if", "parse_strings_as_datetimes", "output_strftime_format",
                            "allow_cross_type_comparisons", "result_format", "include_config", "catch_exceptions",
                            "profiler_config", "allow_relative_error", "auto"})
"""Arguments of older suites, or of reporting, that do not change what is checked."""


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
    """A contract as it stands in its file; `quarantine` is the share of rows that may be set aside."""

    name: str
    checks: tuple[Check, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    quarantine: float = 0.0


def read_suite(path: Path) -> Suite:
    """Read a suite file of any Great Expectations version. Raises FileMissing, and SuiteError with every mistake."""
    if not path.is_file():
        raise FileMissing(f"There is no contract {path.parent.name}/{path.name}.", remedy=f"Write {path}, or `nightgate new`.")
    if path.stat().st_size > LARGEST_FILE:
        raise SuiteError(f"{path.name} is {path.stat().st_size:,} bytes; a suite has at most {LARGEST_FILE:,}.",
                         remedy="A set of that size belongs into a table of its own.")
    content = path.read_bytes()
    try:
        value = json.loads(content, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{path.parent.name}/{path.name} is no suite: {bounded(str(error), 300)}.",
                         remedy="It must be one JSON object, as Great Expectations writes it.") from None
    return parse_suite(value, place=f"{path.parent.name}/{path.name}", sha256=hashlib.sha256(content).hexdigest())


def parse_suite(value: Any, *, place: str, sha256: str = "") -> Suite:
    """Return the suite of a JSON value. Raises SuiteError with every mistake."""
    mistakes = list(_of_file(value))
    if mistakes:
        raise _refused(place, mistakes)
    checks = []
    for number, each in enumerate(value["expectations"]):
        found = list(_of_expectation(each))
        mistakes += [f"expectations[{number}]{where}: {what}" for where, what in found]
        if not found:
            checks.append(_check(each, f"expectations[{number}]"))
    mistakes += _clashes(checks)
    if mistakes:
        raise _refused(place, mistakes)
    own = (value.get("meta") or {}).get("nightgate") or {}
    return Suite(str(value.get("name") or value.get("expectation_suite_name") or place), tuple(checks), value.get("meta") or {},
                 sha256, float(own.get("quarantine", 0.0)))


@cache
def known_expectations() -> dict[str, dict[str, list[str]]]:
    """Return the arguments that each core expectation takes and needs; a test compares them with the library's registry."""
    found: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("expectations.json").read_text())
    return found


def _of_file(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"(file): found {type(value).__name__}; allowed: an object with `name` and `expectations`"
        return
    if not isinstance(value.get("expectations"), list):
        yield "expectations: found no list"
    elif not value["expectations"]:
        yield "expectations: found none; a contract without a check passes everything"
    if not isinstance(value.get("meta") or {}, dict):
        yield "meta: found no object"
        return
    own = (value.get("meta") or {}).get("nightgate") or {}
    share = own.get("quarantine", 0.0) if isinstance(own, dict) else None
    if not (isinstance(share, int | float) and _is_number(share) and 0 <= share < 1):
        yield f"meta.nightgate.quarantine: found {share!r}; allowed: a share such as 0.05"


def _of_expectation(each: Any) -> Iterator[tuple[str, str]]:
    """Yield place and mistake of one expectation."""
    if not isinstance(each, dict):
        yield "", f"found {type(each).__name__}; allowed: an object with `type` and `kwargs`"
        return
    name, arguments = _type(each), each.get("kwargs")
    if name not in known_expectations():
        close = difflib.get_close_matches(str(name), known_expectations(), 1)
        yield ".type", f"found `{name}`, which is no core expectation" + (f"; did you mean `{close[0]}`?" if close else "")
        return
    if not isinstance(arguments, dict):
        yield ".kwargs", "found no object"
        return
    severity = each.get("severity", "critical")
    if severity not in SEVERITIES:
        yield ".severity", f"found {severity!r}; allowed: {', '.join(SEVERITIES)}"
    takes, needs = (frozenset(known_expectations()[name][key]) for key in ("takes", "needs"))
    for argument in arguments.keys() - takes - WITHOUT_EFFECT:
        close = difflib.get_close_matches(argument, sorted(takes), 1)
        yield f".kwargs.{argument}", "no argument of it" + (f"; did you mean `{close[0]}`?" if close else "")
    for argument in sorted(needs - {key for key, value in arguments.items() if value is not None}):
        yield f".kwargs.{argument}", "found nothing; it is needed"
    for where, what in _of_values(name, arguments):
        yield f".kwargs.{where}", what


def _of_values(name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if {"min_value", "max_value"} <= set(known_expectations()[name]["takes"]) and low is None and high is None \
            and name != "expect_column_kl_divergence_to_be_less_than":
        yield "min_value", "found neither min_value nor max_value; without a bound it always passes"
    for key, value in (("min_value", low), ("max_value", high)):
        if isinstance(value, bool) or (isinstance(value, int) and abs(value) > LARGEST_EXACT):
            yield key, f"found {value!r}; a bound is a number up to 2^53 or a text"
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        yield "min_value", f"found {low!r}, above max_value {high!r}; nothing can satisfy it"
    mostly = arguments.get("mostly")
    if mostly is not None and not (_is_number(mostly) and 0 < mostly <= 1):
        yield "mostly", f"found {mostly!r}; allowed: a share above 0 up to 1"
    for key in ("value_set", "column_set", "column_list", "type_list", "regex_list", "like_pattern_list", "partition_object"):
        if key in arguments and not arguments[key]:
            yield key, "found nothing in it; it always passes"
    if (ranges := arguments.get("quantile_ranges")) is not None:
        yield from _of_quantiles(ranges)
    if (condition := arguments.get("row_condition")) is not None:
        yield from _of_condition(condition)


def _of_condition(condition: object) -> Iterator[tuple[str, str]]:
    try:
        parse_condition(condition)
    except SuiteError as error:
        yield "row_condition", error.message


def _of_quantiles(ranges: Any) -> Iterator[tuple[str, str]]:
    quantiles = ranges.get("quantiles") if isinstance(ranges, dict) else None
    bounds = ranges.get("value_ranges") if isinstance(ranges, dict) else None
    if not isinstance(quantiles, list) or not isinstance(bounds, list) or len(quantiles) != len(bounds) or not quantiles:
        yield "quantile_ranges", "found no lists `quantiles` and `value_ranges` of one length"
        return
    for number, (quantile, pair) in enumerate(zip(quantiles, bounds, strict=True)):
        if not _is_number(quantile) or not 0 <= quantile <= 1:
            yield f"quantile_ranges.quantiles[{number}]", f"found {quantile!r}; allowed: 0 to 1"
        if not isinstance(pair, list) or len(pair) != 2 or all(bound is None for bound in pair):
            yield f"quantile_ranges.value_ranges[{number}]", "found no pair with at least one bound"


def _clashes(checks: list[Check]) -> Iterator[str]:
    """Yield columns that differ by case only (the library takes the first), and rules written twice."""
    spellings: dict[str, set[str]] = {}
    seen: dict[str, str] = {}
    for check in checks:
        for column in check.columns:
            spellings.setdefault(column.casefold(), set()).add(column)
        key = json.dumps([check.type, dict(check.arguments)], sort_keys=True, default=str)
        if key in seen:
            yield f"{check.place}: repeats {seen[key]}"
        seen.setdefault(key, check.place)
    for names in spellings.values():
        if len(names) > 1:
            yield f"columns {', '.join(f'`{name}`' for name in sorted(names))} differ by case only"


def _check(each: Mapping[str, Any], place: str) -> Check:
    arguments = {key: value for key, value in each["kwargs"].items() if value is not None and key not in WITHOUT_EFFECT}
    condition = arguments.pop("row_condition", None)
    columns = [arguments[key] for key in ("column", "column_A", "column_B") if key in arguments]
    columns += arguments.get("column_list", [])
    return Check(_type(each), arguments, tuple(map(str, columns)), float(arguments.get("mostly", 1.0)),
                 None if condition is None else parse_condition(condition), each.get("severity", "critical"),
                 str(each.get("notes") or ""), each.get("meta") or {}, place)


def _type(each: Mapping[str, Any]) -> str:
    return str(each.get("type") or each.get("expectation_type"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key `{next(name for name in names if names.count(name) > 1)}` stands twice in one object")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number and bounds nothing")


def _refused(place: str, mistakes: list[str]) -> SuiteError:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return SuiteError(f"{place} has {count}:\n" + "\n".join(f"  {mistake}" for mistake in mistakes),
                      remedy="Mend the file; nothing passes a contract that is not understood.", details={"mistakes": mistakes})
