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
from nightgate.contracts.families import family
from nightgate.contracts.forms import RowRule
from nightgate.contracts.opening import Opened
from nightgate.contracts.rules import RE2_CANNOT, as_re2, patterns_of
from nightgate.contracts.suites import Check
from nightgate.contracts.values import known

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
