"""Learning a contract from many nights: inferred from all their rows, then given what nights differ by among themselves.

The more nights there are, the tighter the contract: from more rows, for nights known to be larger, with surer tolerances.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import literal
from nightgate.contracts.forms import Grouped, Quantiles, RowRule, Shares
from nightgate.contracts.gate import form_of
from nightgate.contracts.limits import Limits
from nightgate.contracts.opening import Opened, answers_to, opened
from nightgate.contracts.suites import Check, parse_suite
from nightgate.contracts.writing import Expectation, expect, mostly, outward
from nightgate.errors import DataUnusable
from nightgate.wording import counted

FEWEST = 3
"""Nights from which what they differ by is told."""

SMALLER = 2 / 3
LARGER = 3 / 2
"""Rows that a night may have at least and at most, of the fewest and the most that came; a month of taxi rides never left that."""


@dataclass(frozen=True)
class PastNight:
    """The data of one run that passed, in a local Parquet file."""

    run: int
    path: Path
    rows: int


def smallest_of(nights: Sequence[PastNight]) -> int:
    """Return the rows of the smallest night that is expected."""
    return max(int(SMALLER * min(night.rows for night in nights)), 1)


def pooled(nights: Sequence[PastNight], path: Path) -> None:
    """Write the rows of all nights, each once: windows overlap."""
    import duckdb

    files = ", ".join(literal(str(night.path)) for night in nights)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT DISTINCT * FROM read_parquet([{files}], union_by_name=true)) "
                           f"TO {literal(str(path))} (FORMAT parquet)")


def learnt(suite: dict[str, Any], nights: Sequence[PastNight], limits: Limits) -> dict[str, Any]:
    """Return a suite, inferred from the pooled rows, with the tolerances of its nights."""
    checks = parse_suite(suite, place=str(suite["name"])).checks
    seen: list[Mapping[str, Any]] = []
    for night in nights:
        with opened(night.path) as data:
            seen.append({check.place: _figures(check, data) for check in checks})
    made = [_tolerant(each, check, [night[check.place] for night in seen if night[check.place] is not None], limits)
            for each, check in zip(suite["expectations"], checks, strict=True)]
    made = [_counted(nights, limits) if each["type"] == "expect_table_row_count_to_be_between" else each for each in made]
    own = {**suite["meta"]["nightgate"], "nights": len(nights), "runs": [night.run for night in nights]}
    return {**suite, "expectations": made, "meta": {**suite["meta"], "nightgate": own}}


def _figures(check: Check, data: Opened) -> Any:
    """Return what a rule is judged by on one night: the share against it, a distance, quantiles; None when there is nothing."""
    form = form_of(check, data)
    if isinstance(form, RowRule | Grouped):
        evaluated, against = (float(answer or 0) for answer in _answers(form, check, data))
        return against / evaluated if evaluated else None
    if isinstance(form, Shares):
        return form.distance(_answers(form, check, data)[0] or {})
    if isinstance(form, Quantiles):
        wanted = ", ".join(str(quantile) for quantile, _, _ in form.bounds)
        return data.connection.execute(f"SELECT quantile_disc({form.sql}, [{wanted}]) FROM data WHERE {form.applies}").fetchall()[0][0]
    return None


def _answers(form: RowRule | Grouped | Shares, check: Check, data: Opened) -> list[Any]:
    found = answers_to(data, [form])
    for part in form.asks:
        if isinstance(found[part], Exception):
            raise DataUnusable(f"{check.place} ({check.type}) cannot be asked of a past night's data: {type(found[part]).__name__}.",
                               remedy="Take the rule out of the contract, or begin a new one with `nightgate new`.")
    return [found[part] for part in form.asks]


def _tolerant(each: Expectation, check: Check, seen: Sequence[Any], limits: Limits) -> Expectation:
    """Widen a rule to where the next night may lie; never narrow it."""
    if len(seen) < FEWEST:
        return each
    if check.type == "expect_column_quantile_values_to_be_between":
        ranges = each["kwargs"]["quantile_ranges"]
        pairs = [[_outer(low, limits.tolerated(values)[0], up=False), _outer(high, limits.tolerated(values)[1], up=True)]
                 for (low, high), values in zip(ranges["value_ranges"], zip(*seen, strict=True), strict=True)]
        return _with(each, {"quantile_ranges": {**ranges, "value_ranges": pairs}}, seen)
    highest = limits.tolerated(seen)[1]
    if check.type == "expect_column_kl_divergence_to_be_less_than":
        return _with(each, {"threshold": max(each["kwargs"]["threshold"], outward(highest, up=True))}, seen)
    if "mostly" not in each["kwargs"] or highest <= 1 - each["kwargs"]["mostly"]:
        return _with(each, {}, seen)
    return _with(each, mostly(min(highest, 1.0)), seen) if highest < 1 else each


def _outer(bound: float | None, tolerated: float, *, up: bool) -> float | None:
    if bound is None:
        return None
    return max(bound, outward(tolerated, up=True)) if up else min(bound, outward(tolerated, up=False))


def _with(each: Expectation, arguments: dict[str, Any], seen: Sequence[Any]) -> Expectation:
    """Return a rule with wider arguments and the nights that they come from."""
    evidence = {**each["meta"].get("nightgate", {}), "nights": len(seen)}
    if arguments:
        evidence |= {"formula": "mean ± t·s·√(1 + 1/n) over nights", **_extremes(seen)}
    return {**each, "kwargs": {**each["kwargs"], **arguments}, "meta": {"nightgate": evidence}}


def _extremes(seen: Sequence[Any]) -> dict[str, Any]:
    least, most = (min(seen), max(seen)) if not isinstance(seen[0], list) else (list(map(min, zip(*seen, strict=True))),
                                                                               list(map(max, zip(*seen, strict=True))))
    return {"seen_least": least, "seen_most": most}


def _counted(nights: Sequence[PastNight], limits: Limits) -> Expectation:
    """Return the rule on the number of rows: what came, a third less or half as much more, or what its nights tolerate."""
    counts = [night.rows for night in nights]
    low, high = (math.exp(value) for value in limits.tolerated([math.log(count) for count in counts]))
    least, most = math.floor(min(low, SMALLER * min(counts))), math.ceil(max(high, LARGER * max(counts)))
    return expect("expect_table_row_count_to_be_between", {"min_value": max(least, 1), "max_value": most},
                  f"{min(counts):,} to {max(counts):,} rows came in {counted(len(counts), 'night')}.", least=min(counts), most=max(counts),
                  nights=len(counts))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new suite in which what a person wrote or accepted stands as it was; pinned types and the quarantine's share stay."""
    kept: dict[str, list[Expectation]] = {}
    for rule in old["expectations"]:
        own = (rule.get("meta") or {}).get("nightgate")
        if own is None or "accepted" in own:
            kept.setdefault(_subject(rule), []).append(rule)
    rules = [one for rule in new["expectations"] for one in kept.pop(_subject(rule), [rule])]
    rules += itertools.chain(*kept.values())
    before = old["meta"].get("nightgate") or {}
    own = {**new["meta"]["nightgate"], **{key: before[key] for key in ("columns", "quarantine") if key in before}}
    return {**new, "expectations": rules, "meta": {**new["meta"], "nightgate": own}}


def _subject(rule: Mapping[str, Any]) -> str:
    """Return what tells whether two rules are about the same: a rule of a query is about that query."""
    told = ("column", "column_A", "column_B", "column_list", "row_condition", "unexpected_rows_query")
    return json.dumps([rule["type"], *(rule["kwargs"].get(key) for key in told)])
