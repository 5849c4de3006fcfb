"""Asking data of many things at once: aggregates in as few scans as possible."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from nightgate.contracts.forms import RowRule, Rule, Shape
from nightgate.contracts.opening import Opened

STATEMENT = 100
"""Aggregates of one statement: more make its compilation slower than a second scan, which costs more the more columns there are."""


FEW_ROWS = 100_000
"""Rows up to which counting them at once costs less than a second statement for what is in doubt."""


def answered(data: Opened, parts: Sequence[str]) -> dict[str, Any]:
    """Answer aggregates and subqueries; one that cannot run has its error for an answer and spoils no other."""
    unique = list(dict.fromkeys(parts))
    # A subquery has scans of its own; beside `FROM data` it would be answered again for each row.
    apart, together = [each for each in unique if each.startswith("(SELECT")], [each for each in unique if not each.startswith("(SELECT")]
    answers: dict[str, Any] = {}
    size = max(STATEMENT, len(data.types) // 4)
    for group, source in ((together, " FROM data"), (apart, "")):
        for start in range(0, len(group), size):
            answers |= _at_once(data, group[start:start + size], source)
    return answers


def answers_to(data: Opened, forms: Iterable[Rule]) -> dict[str, Any]:
    """Answer all that rules ask; where a doubt is not settled by the first answers, the rows are counted in its place."""
    asking = [form for form in forms if not isinstance(form, Shape)]
    if data.rows <= FEW_ROWS:
        plain = [replace(form, doubt="") if isinstance(form, RowRule) else form for form in asking]
        answers = answered(data, [part for form in plain for part in form.asks])
        return answers | {form.doubt: answers[form.counted] for form in asking if isinstance(form, RowRule) and form.doubt}
    answers = answered(data, [part for form in asking for part in form.asks])
    doubts = {form.doubt: form.counted for form in asking if isinstance(form, RowRule) and answers.get(form.doubt) is True}
    counts = answered(data, [*doubts.values()])
    return answers | {doubt: counts[counted] for doubt, counted in doubts.items()}


def _at_once(data: Opened, parts: Sequence[str], source: str) -> dict[str, Any]:
    import duckdb

    try:
        return dict(zip(parts, data.connection.execute(f"SELECT {', '.join(parts)}{source}").fetchall()[0], strict=True))
    except duckdb.Error as error:
        if len(parts) == 1:
            return {parts[0]: error}
        return {part: answer for each in parts for part, answer in _at_once(data, [each], source).items()}
