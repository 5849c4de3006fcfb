"""Accepting what a contract stopped: just the rules that failed are widened, by what was seen, and no further."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import identifier
from nightgate.contracts.families import Family, family
from nightgate.contracts.forms import Figures, Grouped, Quantiles, RowRule, Shape, Shares
from nightgate.contracts.gate import CheckResult, form_of
from nightgate.contracts.mistakes import FILE
from nightgate.contracts.opening import Opened, answers_to, opened
from nightgate.contracts.suites import Check, Suite, known_expectations, number_of, read_suite
from nightgate.contracts.values import at, bound_of, counted_from_night, is_in
from nightgate.contracts.writing import as_text, outward
from nightgate.errors import UsageError

MOST_VALUES = 100
"""New values that are added to a set; more of them widen the share that may be new."""


@dataclass(frozen=True)
class Reason:
    """Who accepted what a run showed, when (ISO, UTC) and why."""

    run: int
    by: str
    at: str
    why: str


@dataclass(frozen=True)
class Change:
    """A rule that was widened: its place in the file, its arguments before and after."""

    place: str
    before: dict[str, Any]
    after: dict[str, Any]


def accept(path: Path, run: Suite, data: Path, places: Sequence[str], reason: Reason, *, now: datetime) -> tuple[str, tuple[Change, ...]]:
    """Return the text of a suite's file that the data keep, and what changed. `places` are of rules that the data do not keep in
    `run`, the suite as it was then; `now` is the night that its bounds counted from.

    Raises UsageError when widening cannot help: a missing column, a wrong type, a rule that no row keeps, one that was changed since.
    """
    suite = read_suite(path)
    done = {each.place for each in suite.checks if reason.run in _accepted_of(each)}
    if places and done.issuperset(places):
        raise UsageError(f"What run {reason.run} saw is accepted already.", remedy="Run that night again.")
    places = [place for place in places if place not in done]
    checks, then = ({each.place: each for each in one.checks} for one in (suite, run))
    unknown = [place for place in places if place not in checks or _asked(checks[place]) != _asked(then[place])]
    if unknown:
        raise UsageError(f"{unknown[0]} of {path.name} is not what it was in that run.",
                         remedy="The contract was changed since; run again first.")
    whole = json.loads(suite.content)
    changes = []
    with opened(data) as rows:
        for place in places:
            written = whole["expectations"][number_of(place)]
            before, after = dict(written["kwargs"]), {**written["kwargs"], **_widened(checks[place], rows, now)}
            after = {key: value for key, value in after.items() if value is not None}
            written["kwargs"] = after
            if written.get("notes"):
                written["notes"] = f"{written['notes']} Widened by what run {reason.run} saw."
            written["meta"] = written.get("meta") or {}
            own = written["meta"].setdefault("nightgate", {})
            own.setdefault("accepted", []).append({**asdict(reason), "before": before})
            changes.append(Change(place, before, after))
    return as_text(whole, before=suite.content.decode()), tuple(changes)


def _accepted_of(check: Check) -> set[int]:
    """Return the runs whose data a rule was widened by."""
    return {int(one["run"]) for one in (check.meta.get("nightgate") or {}).get("accepted", [])}


def _asked(check: Check) -> tuple[object, ...]:
    return check.type, dict(check.arguments), check.condition


def _widened(check: Check, data: Opened, now: datetime) -> dict[str, Any]:
    """Return the arguments that change; None takes one away. Bounds that counted from the night still do."""
    parameters = {key: value["$PARAMETER"] for key, value in check.arguments.items() if isinstance(value, dict) and "$PARAMETER" in value}
    if any(FILE.fullmatch(parameter) for parameter in parameters.values()):
        raise _hopeless(check, "its values are in another file")
    changed = _changed(at(check, now, Path()), data)
    return {key: counted_from_night(parameters[key], value, now, up=key == "max_value") if key in parameters and value else value
            for key, value in changed.items()}


def _changed(check: Check, data: Opened) -> dict[str, Any]:
    form = form_of(check, data)
    if form is None or isinstance(form, CheckResult | Shape):
        why = form.found if isinstance(form, CheckResult) else form.wrong(data.types) if form else ""
        raise _hopeless(check, why or "there is nothing in it to widen")
    found = answers_to(data, [form])
    answers = [found[part] for part in form.asks]
    if check.type == "expect_column_values_to_be_between" and (bounds := _extremes(check, data)):
        return bounds
    if check.type == "expect_column_values_to_be_in_set" and (values := _new_values(check, data)):
        return {"value_set": [*check.arguments["value_set"], *values]}
    if isinstance(form, RowRule | Grouped):
        return _share(check, answers)
    if isinstance(form, Figures):
        return _figure(check, answers[1], family(data.types[check.columns[0]]) if form.of_values else None)
    if isinstance(form, Quantiles):
        return {"quantile_ranges": _quantiles(check, form, data, int(answers[0]))}
    assert isinstance(form, Shares)
    distance = form.distance(answers[0] or {})
    if not math.isfinite(distance):
        raise _hopeless(check, "a value came that it gives no weight")
    return {"threshold": outward(distance, up=True)}


def _extremes(check: Check, data: Opened) -> dict[str, Any]:
    where = f" WHERE {check.condition.sql}" if check.condition else ""
    column = identifier(check.columns[0])
    low, high = data.connection.execute(f"SELECT min({column}), max({column}) FROM data{where}").fetchall()[0]
    return _bounds(check.arguments, low, high, family(data.types[check.columns[0]]))


def _bounds(arguments: Mapping[str, Any], low: Any, high: Any, kind: Family | None) -> dict[str, Any]:
    """Widen the bounds that the lowest and the highest value have passed."""
    found: dict[str, Any] = {}
    for key, flag, seen, up in (("min_value", "strict_min", low, False), ("max_value", "strict_max", high, True)):
        bound = bound_of(arguments.get(key), kind)
        if bound is not None and ((seen > bound if up else seen < bound) or (seen == bound and arguments.get(flag))):
            found |= {key: _json(outward(seen, up=up) if isinstance(seen, float) else seen), flag: None}
    return found


def _new_values(check: Check, data: Opened) -> list[Any]:
    """Return the values that are not in the set, if they are few."""
    column, kind = identifier(check.columns[0]), family(data.types[check.columns[0]])
    known = is_in(column, check.arguments["value_set"], kind)
    where = f"{column} IS NOT NULL AND NOT ({known})" + (f" AND {check.condition.sql}" if check.condition else "")
    rows = data.connection.execute(f"SELECT DISTINCT {column} FROM data WHERE {where} ORDER BY 1 LIMIT {MOST_VALUES + 1}").fetchall()
    values = [_json(value) for value, in rows]
    return values if len(values) <= MOST_VALUES else []


def _share(check: Check, answers: Sequence[Any]) -> dict[str, Any]:
    evaluated, against = (int(answer or 0) for answer in answers)
    share = math.floor((1 - against / evaluated) * 10_000) / 10_000 if evaluated else 0.0
    if "mostly" not in known_expectations()[check.type]["takes"] or share <= 0:
        raise _hopeless(check, "no row keeps it" if evaluated and share <= 0 else "it takes no share of rows that may be against it")
    return {"mostly": share}


def _figure(check: Check, seen: Any, kind: Family | None) -> dict[str, Any]:
    if seen is None:
        raise _hopeless(check, "the data have no value for it")
    return {"value": int(seen)} if "value" in check.arguments else _bounds(check.arguments, seen, seen, kind)


def _quantiles(check: Check, form: Quantiles, data: Opened, rows: int) -> dict[str, Any]:
    ranges = check.arguments["quantile_ranges"]
    pairs: list[list[Any]] = []
    for quantile, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True):
        rank = round((rows - 1) * quantile)  # as the check itself counts
        ordered = f"SELECT {form.sql} FROM data WHERE {form.applies} ORDER BY 1"
        seen = data.connection.execute(f"{ordered} LIMIT 1 OFFSET {rank}").fetchall()[0][0]
        seen = _json(seen) if hasattr(seen, "isoformat") else float(seen)
        text = isinstance(seen, str)
        pairs.append([low if low is None else min(low, seen if text else outward(seen, up=False)),
                      high if high is None else max(high, seen if text else outward(seen, up=True))])
    return {**ranges, "value_ranges": pairs}


def _json(value: Any) -> Any:
    """Return a value as a suite holds it: dates as ISO text."""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _hopeless(check: Check, why: str) -> UsageError:
    return UsageError(f"{check.place} ({check.type}) cannot be widened: {why}.",
                      remedy="Mend the source, or change or remove the rule in the file by hand.")


def chosen_places(results: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> list[str]:
    """Return the places of failed checks that were chosen by place, number, type or column; all of them when none is."""
    failed = [each for each in results if not each["success"] and (each["severity"] == "critical" or each["error"])]
    if not chosen:
        return [each["place"] for each in failed]
    found = []
    for word in chosen:
        mine = [each["place"] for each in failed if word in (each["place"], each["column"], each["type"], str(number_of(each["place"])))]
        if not mine:
            there = ", ".join(f"{number_of(each['place'])} ({each['column'] or each['type']})" for each in failed)
            raise UsageError(f"`{word}` is no check that failed in this run.", remedy=f"There failed {there}.")
        found += mine
    return list(dict.fromkeys(found))
