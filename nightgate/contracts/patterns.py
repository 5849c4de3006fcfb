"""Regular expressions as Python means them: by DuckDB's engine where that means the same, else tried apart.

Python's engine may run for ever on some values; it runs in a process that can be ended.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.families import Types, family
from nightgate.contracts.forms import RowRule
from nightgate.contracts.opening import Opened
from nightgate.contracts.suites import Check
from nightgate.contracts.values import known, value_of

RE2_CANNOT = re.compile(r"\(\?(?:[=!>(#]|<[=!]|P=|[a-zA-Z]*[aLmux])|\\[1-9]|\\[GKRX]|[*+?}]\+|\{,|\[\[:")
"""What Python's regular expressions have and DuckDB's have not, or mean otherwise: looking around, back references, possessive
repeats, comments, lines of their own (`(?m)`), `{,3}`."""

LONGEST = 30
"""Seconds that patterns may take on all values of a column."""

OF_LETTERS = re.compile(r"\\[wWdDsSbB]")
"""Classes that hold letters and digits of every script in Python, and those of ASCII alone in DuckDB's engine."""

_MATCHING = """
import json, re, sys
patterns, values, every = json.load(sys.stdin)
searches = [re.compile(each).search for each in patterns]
matching = [value for value in values if (all if every else any)(search(value) for search in searches)]
json.dump(matching, sys.stdout)
"""
_SCHEMA = """
import json, sys, jsonschema
schema, values = json.load(sys.stdin)
for value in values:
    try:
        jsonschema.validate(json.loads(value), schema)
    except Exception:
        pass
"""


def regex(check: Check, types: Types) -> RowRule | None:
    """Make a rule of one regular expression, or of a list of which any or all must match."""
    patterns, name = patterns_of(check), check.columns[0]
    kind = family(types[name]) if name in types else "text"
    if any(RE2_CANNOT.search(pattern) for pattern in patterns) or kind not in ("text", "integer"):
        return None
    sql = identifier(name) if kind == "text" else f"CAST({identifier(name)} AS VARCHAR)"
    against = _against(check, [f"regexp_matches({sql}, {literal(as_re2(pattern))})" for pattern in patterns])
    return RowRule(known(check, name), against, by_value="" if check.condition else identifier(name))


def patterns_of(check: Check) -> Sequence[str]:
    found: Sequence[str] = check.arguments.get("regex_list") or [check.arguments["regex"]]
    return found


def _against(check: Check, tests: Sequence[str]) -> str:
    """Return that a value is against a rule of patterns, from tests of each of them."""
    whole = (" AND " if check.arguments.get("match_on") == "all" else " OR ").join(tests)
    return whole if "not_match" in check.type else f"NOT ({whole})"


def as_re2(pattern: str) -> str:
    r"""Write a pattern as RE2 means it: `\Z` is its `\z`, and `$` also stands before a last line break."""
    return re.sub(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", lambda match: r"(?:\n?\z)" if match[1] is None else
                  r"\z" if match[1] == r"\Z" else match[1], pattern, flags=re.DOTALL)


def like(check: Check, types: Types) -> RowRule:
    """Make a rule of SQL's own patterns."""
    sql, _ = value_of(check, types, "text")
    patterns = check.arguments.get("like_pattern_list") or [check.arguments["like_pattern"]]
    escape = f" ESCAPE {literal(check.arguments['escape'])}" if check.arguments.get("escape") else ""
    return RowRule(known(check, check.columns[0]), _against(check, [f"{sql} LIKE {literal(pattern)}{escape}" for pattern in patterns]))


class Endless(Exception):
    """A pattern that did not end in time."""


def of_python(check: Check, data: Opened) -> RowRule | None:
    """Return the form of a rule of patterns that only Python's engine can answer; None where DuckDB's can, or the column is no text.

    Raises Endless.
    """
    column, patterns = check.columns[0], patterns_of(check)
    if family(data.types[column]) not in ("text", "integer") or all(_is_sql(pattern, column, data) for pattern in patterns):
        return None
    sql = f"CAST({identifier(column)} AS VARCHAR)"
    inside = f"{sql} IN (SELECT value FROM {_matching(patterns, check.arguments.get('match_on') == 'all', sql, data)})"
    return RowRule(known(check, column), inside if "not_match" in check.type else f"NOT ({inside})")


def _is_sql(pattern: str, column: str, data: Opened) -> bool:
    """Return whether DuckDB's engine knows a pattern, and means the same by it on the values of a column."""
    import duckdb

    if RE2_CANNOT.search(pattern):
        return False
    try:
        data.asked(f"SELECT regexp_matches(value, {literal(as_re2(pattern))}) FROM (VALUES ('')) AS one(value)")
    except duckdb.Error:
        return False
    name = identifier(column)
    return OF_LETTERS.search(pattern) is None or family(data.types[column]) == "integer" or not data.asked(
        f"SELECT coalesce(bool_or(strlen({name}) <> length({name})), FALSE) FROM data")


def _matching(patterns: Sequence[str], every: bool, sql: str, data: Opened) -> str:
    """Return the name of a table of the values that match."""
    key = (tuple(patterns), every, sql)
    if key not in data.tried:
        values = [value for value, in data.connection.execute(f"SELECT DISTINCT {sql} FROM data WHERE {sql} IS NOT NULL").fetchall()]
        name = f"matching_{len(data.tried)}"
        data.connection.register(name, pa.table({"value": pa.array(json.loads(_run(_MATCHING, [patterns, values, every])), pa.string())}))
        data.tried[key] = name
    return str(data.tried[key])


def demand_end(check: Check, values: Sequence[Any]) -> None:
    """Try what the library would run on values: patterns, or those in a JSON schema. Raises Endless."""
    if "json_schema" in check.arguments:
        _run(_SCHEMA, [check.arguments["json_schema"], [str(value) for value in values]])
    elif "regex" in check.type:
        _run(_MATCHING, [patterns_of(check), [str(value) for value in values], False])


def _run(program: str, given: Any) -> str:
    try:
        return subprocess.run([sys.executable, "-c", program], input=json.dumps(given), text=True, check=False, timeout=LONGEST,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except subprocess.TimeoutExpired:
        raise Endless(f"its pattern did not end within {LONGEST} s on these values") from None
