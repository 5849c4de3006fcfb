"""The raw contract for one row: which of its rules a request must keep, as pure data, and which are left to monitoring."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nightgate.contracts.forms import RowRule, Shape
from nightgate.contracts.patterns import patterns_of
from nightgate.contracts.rules import rule
from nightgate.contracts.sentences import sentence
from nightgate.contracts.suites import Check, Suite
from nightgate.contracts.values import Misfit, members, moment

Kept = dict[str, Any]
"""A rule for the door: `kind`, `columns`, `sentence`, and what the kind needs."""


@dataclass(frozen=True)
class Rules:
    """What the door asks, and the rules that it does not, each with the reason."""

    kept: list[Kept]
    left: list[dict[str, str]]


class _LeftError(Exception):
    """Why a rule is not asked at the door."""


def rules_of(suite: Suite, raw: Mapping[str, str], masked: frozenset[str]) -> Rules:
    """Return what a suite asks of a row that brings the columns `raw`. Values of `masked` columns are tokens in the contract."""
    kept: list[Kept] = []
    left: list[dict[str, str]] = []
    for each in suite.checks:
        try:
            kept.append(_kept(each, raw) | {"columns": list(each.columns), "sentence": _told(each, masked)})
        except (_LeftError, Misfit) as why:
            left.append({"rule": _told(each, masked), "why": str(why)})
    return Rules(kept, left)


def _told(check: Check, masked: frozenset[str]) -> str:
    return sentence(check) if masked.isdisjoint(check.columns) else f"a rule of `{check.columns[0]}`"


def _kept(check: Check, raw: Mapping[str, str]) -> Kept:
    form = rule(check)
    if isinstance(form, Shape):
        raise _LeftError("a request has these fields and types, or is refused")
    if form is not None and not isinstance(form, RowRule):
        raise _LeftError("it is about many rows")
    if absent := [name for name in check.columns if name not in raw]:
        raise _LeftError(f"a request has no `{absent[0]}`")
    if check.mostly < 1:
        raise _LeftError("a share of the rows may break it")
    if check.severity != "critical":
        raise _LeftError("it only warns")
    if check.condition is not None:
        raise _LeftError("it is about some rows, by a condition")
    if any(isinstance(value, dict) and "$PARAMETER" in value for value in check.arguments.values()):
        raise _LeftError("it counts from the night, or looks into another file")
    make = MAKERS.get(check.type)
    if make is None:
        raise _LeftError("it has no form for one row")
    return make(check, [raw[name] for name in check.columns])


def _needs(check: Check, kinds: list[str], *allowed: str) -> None:
    if wrong := [kind for kind in kinds if kind not in allowed]:
        raise _LeftError(f"`{check.columns[0]}` is {wrong[0]}, which it cannot be asked of")


def _between(check: Check, kinds: list[str]) -> Kept:
    bounds = {key: _bound(check.arguments.get(f"{key}_value"), kinds[0]) for key in ("min", "max")}
    return {"kind": "between", **bounds, **{f"strict_{key}": bool(check.arguments.get(f"strict_{key}")) for key in ("min", "max")}}


def _bound(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "date":
        return moment(str(value)).isoformat()
    if isinstance(value, str) != (kind == "text"):
        raise _LeftError(f"a bound is {value!r}, and the column {kind}")
    return value


def _lengths(check: Check, kinds: list[str]) -> Kept:
    _needs(check, kinds, "text")
    value = check.arguments.get("value")
    return {"kind": "length", "min": check.arguments.get("min_value", value), "max": check.arguments.get("max_value", value),
            **{f"strict_{key}": bool(check.arguments.get(f"strict_{key}")) for key in ("min", "max")}}


def _set(check: Check, kinds: list[str]) -> Kept:
    values = members(check.arguments["value_set"], kinds[0])  # type: ignore[arg-type] # a column's type is a family
    plain = [value.isoformat() if kinds[0] == "date" else value for value in values]
    return {"kind": "not_in" if "not_be" in check.type else "in", "values": plain}


def _regex(check: Check, kinds: list[str]) -> Kept:
    _needs(check, kinds, "text", "integer")
    if any(re.search(r"\[:|\\[pPzQEC]|\(\?[a-zA-Z]*[sUi]|\(\?P?<", pattern) for pattern in patterns_of(check)):
        raise _LeftError("its pattern means something else in Python")
    return _matching(check, patterns_of(check))


def _like(check: Check, kinds: list[str]) -> Kept:
    _needs(check, kinds, "text")
    if check.arguments.get("escape"):
        raise _LeftError("it escapes characters")
    return _matching(check, [r"(?s:\A" + "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern) + r"\Z)"
                             for pattern in check.arguments.get("like_pattern_list") or [check.arguments["like_pattern"]]])


def _matching(check: Check, patterns: Sequence[str]) -> Kept:
    return {"kind": "matches_not" if "not_match" in check.type else "matches", "patterns": patterns,
            "all": check.arguments.get("match_on") == "all"}


def _several(kind: str, default: str, *arguments: str, alike: bool = True) -> "Maker":
    """Make a rule over columns of one row; `default` says which rows it is not about."""
    def make(check: Check, kinds: list[str]) -> Kept:
        families = {"number" if each in ("integer", "number", "boolean") else each for each in kinds}
        if alike and len(families) > 1:
            raise _LeftError("its columns hold values of different kinds")
        found = {name: check.arguments.get(name) for name in arguments}
        if kind == "pairs" and any(each in ("date", "boolean") for each in kinds):
            raise _LeftError("it has no form for one row")
        if kind == "sum" and (families != {"number"} or not math.isfinite(float(found["sum_total"] or 0))):
            raise _LeftError("it adds what are no numbers")
        return {"kind": kind, "ignored": check.arguments.get("ignore_row_if", default), **found}
    return make


Maker = Callable[[Check, list[str]], Kept]

MAKERS: Mapping[str, Maker] = {
    "expect_column_values_to_not_be_null": lambda check, kinds: {"kind": "known"},
    "expect_column_values_to_be_null": lambda check, kinds: {"kind": "unknown"},
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _set,
    "expect_column_distinct_values_to_be_in_set": _set,
    "expect_column_values_to_not_be_in_set": _set,
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _lengths,
    **{f"expect_column_values_to_{verb}_{what}": make for verb in ("match", "not_match")
       for what, make in (("regex", _regex), ("regex_list", _regex), ("like_pattern", _like), ("like_pattern_list", _like))},
    "expect_column_pair_values_a_to_be_greater_than_b": _several("greater", "both_values_are_missing", "or_equal"),
    "expect_column_pair_values_to_be_equal": _several("equal", "both_values_are_missing"),
    "expect_column_pair_values_to_be_in_set": _several("pairs", "both_values_are_missing", "value_pairs_set", alike=False),
    "expect_multicolumn_sum_to_equal": _several("sum", "never", "sum_total"),
    "expect_multicolumn_values_to_be_equal": _several("same", "never"),
    "expect_select_column_values_to_be_unique_within_record": _several("different", "never"),
}

