"""Asking data of many things at once: aggregates in as few scans as possible."""

from collections.abc import Sequence
from typing import Any

from nightgate.contracts.opening import Opened

STATEMENT = 100
"""Aggregates of one statement: more make its compilation slower than a second scan, which costs more the more columns there are."""


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


def _at_once(data: Opened, parts: Sequence[str], source: str) -> dict[str, Any]:
    import duckdb

    try:
        return dict(zip(parts, data.connection.execute(f"SELECT {', '.join(parts)}{source}").fetchall()[0], strict=True))
    except duckdb.Error as error:
        if len(parts) == 1:
            return {parts[0]: error}
        return {part: answer for each in parts for part, answer in _at_once(data, [each], source).items()}
