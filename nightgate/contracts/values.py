"""Values in SQL: columns, bounds and sets, each compared only with what the column can hold.

DuckDB would cast: `'5' < 3` is answered there, and text in a column of numbers would pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.families import Family, Types, family
from nightgate.contracts.mistakes import FILE, NOW, exact
from nightgate.contracts.suites import Check
from nightgate.errors import FileMissing

NUMERIC: tuple[Family, ...] = ("integer", "number", "boolean")


class Misfit(Exception):
    """A rule that cannot be asked of a column of this type."""


@dataclass(frozen=True)
class Listed:
    """The values of a column of another file; `table` is that file in SQL, `texts` say that all its values are."""

    name: str
    column: str
    table: str
    texts: bool

    def __str__(self) -> str:
        return f"the values of `{self.column}` in {self.name}"

    def sql(self, kind: Family | None) -> str:
        """Return the values that a column of a family can hold."""
        name = identifier(self.column)
        value = _AS[kind].format(name) if self.texts and kind is not None and kind in _AS else name
        return f"SELECT {value} FROM {self.table} WHERE {value} IS NOT NULL"


_AS: Mapping[Family | None, str] = {
    "integer": "CASE WHEN regexp_full_match({0}, '[+-]?[0-9]+(\\.0*)?') THEN TRY_CAST({0} AS HUGEINT) END",
    "number": "TRY_CAST({0} AS DOUBLE)", "boolean": "TRY_CAST({0} AS BOOLEAN)", "date": "TRY_CAST({0} AS TIMESTAMP)"}
"""A text as a value of a family."""


def at(check: Check, now: datetime, folder: Path, table_of: Callable[[Path], str] = str) -> Check:
    """Return a check with its parameters' values: dates that count from `now()`, columns of files beside the suite, which
    `table_of` gives as tables in SQL. Where a date is counted from the night, texts are read as dates.

    Raises FileMissing for a file that is not there.
    """
    found: dict[str, Any] = {}
    for key, value in check.arguments.items():
        if isinstance(value, dict) and "$PARAMETER" in value:
            listed = FILE.fullmatch(value["$PARAMETER"])
            found[key] = _listed(folder, listed["path"], listed["column"], table_of) if listed else _dated(value["$PARAMETER"], now)
            found |= {} if listed else {"parse_strings_as_datetimes": True}
    return replace(check, arguments={**check.arguments, **found}) if found else check


def _listed(folder: Path, name: str, column: str, table_of: Callable[[Path], str]) -> Listed:
    path = folder / name
    if not path.is_file():
        raise FileMissing(f"A rule looks into {name}, which is not there.", remedy=f"It is looked for beside the suite, as {path}.")
    return Listed(path.name, column, table_of(path), not name.casefold().endswith(".parquet"))


def _dated(parameter: str, now: datetime) -> str:
    match = NOW.fullmatch(parameter)
    assert match is not None  # the suite was read strictly
    span = timedelta(**{match[2]: int(match[3])}) if match[2] else timedelta()
    return (now - span if match[1] == "-" else now + span).isoformat()


def counted_from_night(parameter: str, bound: str, now: datetime, *, up: bool) -> dict[str, str]:
    """Return a bound as a parameter that counts from the night, in the unit that it counted in, rounded outward (`up`: later)."""
    match = NOW.fullmatch(parameter)
    assert match is not None  # the suite was read strictly
    unit = match[2] or "days"
    steps = (moment(bound) - now) / timedelta(**{unit: 1})
    whole = math.ceil(steps) if up else math.floor(steps)
    return {"$PARAMETER": f"now() {'-' if whole < 0 else '+'} timedelta({unit}={abs(whole)})"}


def known(check: Check, *columns: str) -> str:
    parts = [f"{identifier(column)} IS NOT NULL" for column in columns]
    return " AND ".join([*parts, *([check.condition.sql] if check.condition else [])])


def value_of(check: Check, types: Types, *allowed: Family, column: int = 0) -> tuple[str, Family | None]:
    """Return a column as SQL and its family. Raises Misfit unless that is among `allowed`; older suites may ask for dates in text."""
    name = check.columns[column]
    sql, kind = identifier(name), family(types[name]) if name in types else None
    if kind == "text" and check.arguments.get("parse_strings_as_datetimes"):
        sql, kind = f"CAST({sql} AS TIMESTAMP)", "date"
    if name in types and kind not in allowed:
        raise Misfit(f"the column {f'{name} ' if column else ''}is of type {types[name].lower()}; the rule needs {' or '.join(allowed)}")
    return (f"CAST({sql} AS INTEGER)" if kind == "boolean" and "number" in allowed else sql), kind


def bound_of(value: Any, kind: Family | None) -> Any:
    """Return a bound as a value that compares with a column of this family. Raises Misfit."""
    if value is None:
        return None
    if kind == "date" and isinstance(value, str):
        return moment(value)
    if kind is not None and (kind == "date" or isinstance(value, str) != (kind == "text")):
        raise Misfit(f"the column holds {kind} values, and a bound is {value!r}")
    return exact(value) if kind == "integer" else value


def moment(text: str) -> datetime:
    """Read a date as Great Expectations does, in UTC where it names a zone, as the data are. Raises Misfit."""
    from dateutil.parser import ParserError, parse  # type: ignore[import-untyped] # pandas brings it, without types

    try:
        found: datetime = parse(text)
    except (ParserError, OverflowError):
        raise Misfit(f"{text!r} is no date") from None
    return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)


def outside(sql: str, kind: Family | None, arguments: Mapping[str, Any], *, least: str = "", most: str = "") -> str:
    """Return that a value is outside its bounds, or, where `least` and `most` of all are given, that one of them is."""
    parts = []
    for side, key, loose, strict, flag in ((least, "min_value", "<", "<=", "strict_min"), (most, "max_value", ">", ">=", "strict_max")):
        if (bound := bound_of(arguments.get(key), kind)) is not None:
            parts.append(f"{side or sql} {strict if arguments.get(flag) else loose} {literal(bound)}")
    return " OR ".join(parts)


def members(values: Sequence[Any], kind: Family | None) -> list[Any]:
    """Return the values that a column of this family can hold: `'7'` is no number and 7 is no text."""
    if kind == "text":
        return list(dict.fromkeys(value for value in values if isinstance(value, str)))
    if kind == "date":
        return list(dict.fromkeys(moment(value) for value in values if isinstance(value, str)))
    if kind == "boolean":
        return list(dict.fromkeys(bool(value) for value in values if not isinstance(value, str) and value in (0, 1)))
    return list(dict.fromkeys(exact(value) if kind == "integer" else value for value in values if isinstance(value, int | float)))


def is_in(sql: str, values: "Sequence[Any] | Listed", kind: Family | None) -> str:
    if isinstance(values, Listed):
        return f"{sql} IN ({values.sql(kind)})"
    found = members(values, kind)
    listed = ", ".join(map(literal, found))
    if not found:
        return "FALSE"
    # One look-up in a table of the values: seven times faster than IN, which compares with each of them.
    return f"TRY_CAST({sql} AS ENUM({listed})) IS NOT NULL" if kind == "text" else f"{sql} IN ({listed})"
