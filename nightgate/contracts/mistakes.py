"""Mistakes in a suite's JSON, each with its place: all that Great Expectations drops, passes silently or runs as code.

A mistake is `place: what was found; what is allowed`, the place as a path into the file.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import parse_condition
from nightgate.contracts.families import FAMILIES, family
from nightgate.errors import SuiteError
from nightgate.wording import meant

SEVERITIES = ("critical", "warning", "info")
LARGEST_EXACT = 2**53
"""Whole numbers beyond it become other numbers as floats, and Great Expectations makes them floats."""

WITHOUT_EFFECT = frozenset({"condition_parser", "output_strftime_format", "allow_cross_type_comparisons", "result_format",
                            "include_config", "catch_exceptions", "profiler_config", "auto", "batch_id", "library_metadata"})
"""Arguments of older suites, or of reporting, that do not change what is checked."""

EVERYWHERE = frozenset({"parse_strings_as_datetimes", "ignore_row_if", "allow_relative_error"})
"""Arguments of older suites that do change it, and are kept."""

KEYS = frozenset({"type", "expectation_type", "kwargs", "meta", "notes", "id", "severity", "description", "rendered_content", "windows",
                  "expectation_context", "success_on_last_run", "ge_cloud_id", "domain_type"})
OLD_NAMES = {"expect_multicolumn_values_to_be_unique": "expect_select_column_values_to_be_unique_within_record"}
ELSEWHERE = {"expect_query_results_to_match_comparison": "it compares with another data source",
             "expect_table_row_count_to_equal_other_table": "it compares with another table"}
IGNORED = ("both_values_are_missing", "either_value_is_missing", "neither", "all_values_are_missing", "any_value_is_missing", "never")
NOW = re.compile(r"\s*now\(\)\s*(?:([+-])\s*timedelta\(\s*(weeks|days|hours)\s*=\s*(\d{1,5})\s*\)\s*)?")
"""A parameter of the library that is understood: a time counted from the night."""

FILE = re.compile(r"""\s*file\(\s*(['"])(?P<path>(?![/~\\])[^'"]+\.(?:csv|parquet))\1\s*,\s*(['"])(?P<column>[^'"]+)\3\s*\)\s*""",
                  re.IGNORECASE)
"""The other one: the values of a column of another file, `file('../reference/cities.csv', 'name')`, beside the suite."""

MOST_VALUES = 100_000
"""Values of a set in a suite: a million of them take half a minute to look up."""

A_FILE = """{"$PARAMETER": "file('values.parquet', 'name')"}"""
OF_A_FILE = ("expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set")

NAMES = "int64, float64, str, bool or datetime64"
QUERY = re.compile(r"\s*select\s+\*\s+from\s+\{batch\}\s+where\s+(.+?)\s*;?\s*", re.IGNORECASE | re.DOTALL)


@cache
def known_expectations() -> dict[str, dict[str, list[str]]]:
    """Return the arguments that each expectation, the library's and our own, takes and needs; a test compares them with its registry."""
    found: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("expectations.json").read_text())
    return found


def type_of(each: Mapping[str, Any]) -> str:
    name = str(each.get("type") or each.get("expectation_type"))
    return OLD_NAMES.get(name, name)


def of_file(value: Any) -> Iterator[str]:
    """Yield the mistakes of a suite outside its expectations."""
    if not isinstance(value, dict):
        yield f"(file): found {type(value).__name__}; allowed: an object with `name` and `expectations`"
        return
    if not isinstance(value.get("expectations"), list):
        yield "expectations: found no list"
    elif not value["expectations"]:
        yield "expectations: found none; a contract without a check passes everything"
    for key in ("evaluation_parameters", "suite_parameters"):
        if not isinstance(value.get(key) or {}, dict):
            yield f"{key}: found no object"
    own = (value.get("meta") or {}).get("nightgate", {}) if isinstance(value.get("meta") or {}, dict) else None
    if not isinstance(own, dict):
        yield "meta: found no object" if own is None else "meta.nightgate: found no object"
        return
    columns = own.get("columns", {})
    if not isinstance(columns, dict) or not {str(kind) for kind in columns.values()} <= {*FAMILIES}:
        yield f"meta.nightgate.columns: found a type that is none of {', '.join(FAMILIES)}"
    share = own.get("quarantine", 0.0)
    if not (is_number(share) and 0 <= share < 1):
        yield f"meta.nightgate.quarantine: found {share!r}; allowed: a share such as 0.05"


def of_expectation(each: Any) -> Iterator[tuple[str, str]]:
    """Yield place and mistake of one expectation."""
    if not isinstance(each, dict):
        yield "", f"found {type(each).__name__}; allowed: an object with `type` and `kwargs`"
        return
    name, arguments = type_of(each), each.get("kwargs")
    if name not in known_expectations():
        yield ".type", f"found `{name}`, which is no core expectation{_close(name, known_expectations())}"
        return
    if name in ELSEWHERE:
        yield ".type", f"found `{name}`: {ELSEWHERE[name]}, and a gate sees one file"
    if not isinstance(arguments, dict):
        yield ".kwargs", "found no object"
        return
    takes = frozenset(known_expectations()[name]["takes"])
    yield from _of_keys(each, takes)
    given = {key: value for key, value in arguments.items() if value is not None}
    for argument in sorted(arguments.keys() - takes - WITHOUT_EFFECT - EVERYWHERE):
        yield f".kwargs.{argument}", f"no argument of it{_close(argument, takes)}"
    for argument in sorted(frozenset(known_expectations()[name]["needs"]) - given.keys()):
        yield f".kwargs.{argument}", "found nothing; it is needed"
    for where, what in _of_values(name, given):
        yield f".kwargs.{where}", what


def _of_keys(each: Mapping[str, Any], takes: frozenset[str]) -> Iterator[tuple[str, str]]:
    if (severity := each.get("severity") or "critical") not in SEVERITIES:
        yield ".severity", f"found {severity!r}; allowed: {', '.join(SEVERITIES)}"
    if not isinstance(each.get("meta") or {}, dict):
        yield ".meta", "found no object"
    for key in sorted(each.keys() - KEYS):
        yield f".{key}", "belongs into kwargs" if key in takes else f"is not known{_close(key, KEYS)}"


def _close(word: str, known: Iterable[str]) -> str:
    return f"; {told[0].lower()}{told[1:]}" if (told := meant(word, known)) else ""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def exact(value: Any) -> Any:
    """Return a whole number as such: as a float it would make floats of the integers that it is compared with."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**126 else value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each for each in value)


def _is_regex(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, RecursionError, OverflowError):
        return False
    return True


def _is_query(value: Any) -> bool:
    try:
        parse_condition(query_condition(value))
    except SuiteError:
        return False
    return True


def query_condition(query: object) -> str:
    """Return the condition of `SELECT * FROM {batch} WHERE condition`, the only SQL that is understood. Raises SuiteError."""
    match = QUERY.fullmatch(str(query))
    if match is None:
        raise SuiteError("SQL is never run; only `SELECT * FROM {batch} WHERE` with a condition is understood")
    return match[1]


def _is_partition(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(weights := value.get("weights"), list) or not weights:
        return False
    named = value.get("values", value.get("bins"))
    whole = sum(weights) if all(is_number(weight) and weight >= 0 for weight in weights) else 0
    tails = value.get("tail_weights", [])
    return isinstance(named, list) and len(named) == len(weights) + ("bins" in value) and (bool(tails) or abs(whole - 1) < 1e-3)


ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("column", "column_A", "column_B"), (lambda value: isinstance(value, str) and value != "", "the name of a column")),
    **dict.fromkeys(("column_list", "column_set", "like_pattern_list"), (_is_texts, "a list of texts, not empty: else it always passes")),
    "regex_list": (lambda value: _is_texts(value) and all(map(_is_regex, value)), "a list of regular expressions"),
    "regex": (_is_regex, "a regular expression"),
    "value_set": (lambda value: _is_file(value) or (isinstance(value, list) and any(each is not None for each in value)),
                  "a list with values: without one it always passes, or never"),
    "value_pairs_set": (lambda value: isinstance(value, list) and {len(each) if isinstance(each, list) else 0 for each in value} == {2},
                        "a list of pairs"),
    "type_": (lambda value: isinstance(value, str) and family(value) is not None, f"the name of a type, such as {NAMES}"),
    "type_list": (lambda value: _is_texts(value) and any(map(family, value)), f"a list with the name of a type, such as {NAMES}"),
    "mostly": (lambda value: is_number(value) and 0 < value <= 1, "a share above 0 up to 1"),
    "match_on": (lambda value: value in ("any", "all"), "any or all"),
    "ignore_row_if": (lambda value: value in IGNORED, " or ".join(IGNORED)),
    "threshold": (lambda value: is_number(value) and value >= 0, "a number from 0: without it it always passes"),
    "sum_total": (is_number, "a number"),
    "column_index": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number, the first column is 0"),
    "partition_object": (_is_partition, "values (or bins) and weights that add up to 1"),
    "unexpected_rows_query": (_is_query, "`SELECT * FROM {batch} WHERE` and a condition: SQL is never run"),
    **dict.fromkeys(("strict_min", "strict_max", "or_equal", "exact_match", "double_sided", "ties_okay", "strictly"),
                    (lambda value: isinstance(value, bool), "true or false"))}
"""What each argument may be; a value that is not is refused."""


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"$PARAMETER"} and FILE.fullmatch(str(value["$PARAMETER"])) is not None


def _of_values(name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, (allowed, told) in ALLOWED.items():
        if key in given and not allowed(given[key]):
            yield key, f"found {str(given[key])[:60]!r}; allowed: {told}"
    if "min_value" in known_expectations()[name]["takes"] and name != "expect_column_kl_divergence_to_be_less_than":
        yield from _of_bounds(given)
    if "value" in given and not (is_number(given["value"]) and given["value"] >= 0 and given["value"] == int(given["value"])):
        yield "value", f"found {given['value']!r}; allowed: a whole number from 0"
    yield from _of_sets(name, given)
    if "quantile_ranges" in given:
        yield from _of_quantiles(given["quantile_ranges"])
    if "row_condition" in given:
        try:
            parse_condition(given["row_condition"])
        except SuiteError as error:
            yield "row_condition", error.message


def _of_bounds(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    low, high = given.get("min_value"), given.get("max_value")
    if low is None and high is None:
        yield "min_value", "found neither min_value nor max_value; without a bound it always passes"
    wrong = [(key, value) for key, value in (("min_value", low), ("max_value", high)) if value is not None and not _is_bound(value)]
    for key, value in wrong:
        yield key, f"found {str(value)[:60]!r}; a bound is a number up to 2^53, a text, or {{'$PARAMETER': 'now() - timedelta(days=7)'}}"
    if wrong or low is None or high is None or isinstance(low, dict) or isinstance(high, dict):
        return
    if isinstance(low, str) != isinstance(high, str):
        yield "min_value", f"found {low!r}, and max_value {high!r}: one a text, the other a number"
    elif _above(low, high) or (low == high and (given.get("strict_min") or given.get("strict_max"))):
        yield "min_value", f"found {low!r}, above max_value {high!r}; nothing can satisfy it"


def _above(low: Any, high: Any) -> bool:
    if isinstance(low, str):
        try:
            return datetime.fromisoformat(low) > datetime.fromisoformat(high)
        except (ValueError, TypeError):  # no dates, or one with a zone and one without
            return low > str(high)
    return bool(low > high)


def _of_sets(name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("value_set", "value_pairs_set"):
        if isinstance(given.get(key), list) and len(given[key]) > MOST_VALUES:
            yield key, f"found {len(given[key]):,} values; at most {MOST_VALUES:,} stand in a suite, more in a file: {A_FILE}"
    if isinstance(given.get("value_set"), dict) and name not in OF_A_FILE:
        yield "value_set", f"found another file; only {' and '.join(OF_A_FILE)} look into one"


def _is_bound(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"$PARAMETER"} and NOW.fullmatch(str(value["$PARAMETER"])) is not None
    return isinstance(value, str) or (is_number(value) and (isinstance(value, float) or abs(value) <= LARGEST_EXACT))


def _of_quantiles(ranges: Any) -> Iterator[tuple[str, str]]:
    quantiles = ranges.get("quantiles") if isinstance(ranges, dict) else None
    bounds = ranges.get("value_ranges") if isinstance(ranges, dict) else None
    if not isinstance(quantiles, list) or not isinstance(bounds, list) or len(quantiles) != len(bounds) or not quantiles:
        yield "quantile_ranges", "found no lists `quantiles` and `value_ranges` of one length"
        return
    for number, (quantile, pair) in enumerate(zip(quantiles, bounds, strict=True)):
        if not is_number(quantile) or not 0 <= quantile <= 1:
            yield f"quantile_ranges.quantiles[{number}]", f"found {quantile!r}; allowed: 0 to 1"
        if not isinstance(pair, list) or len(pair) != 2 or all(bound is None for bound in pair):
            yield f"quantile_ranges.value_ranges[{number}]", "found no pair with at least one bound"
        else:
            for where, what in _of_bounds({"min_value": pair[0], "max_value": pair[1]}):
                yield f"quantile_ranges.value_ranges[{number}].{where}", what
