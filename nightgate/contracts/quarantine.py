"""Quarantine: rows against row rules, set aside with their reasons; what is kept and what is set aside are all that was read."""

from collections.abc import Mapping
from pathlib import Path

from nightgate.contracts.conditions import literal
from nightgate.contracts.forms import RowRule
from nightgate.contracts.opening import Opened
from nightgate.errors import DataUnusable, UsageError

KEPT, ASIDE = "kept.parquet", "quarantined.parquet"
REASONS = "nightgate_reasons"
"""Column of quarantined rows: a list of the rules that they are against, in words."""


def set_aside(data: Opened, rules: Mapping[str, RowRule], share: float, folder: Path) -> int:
    """Write the rows against rules, which are named by their sentences, and the others; return how many were set aside.

    Nothing is written and 0 returned when there are none, or more than `share` of all rows.
    """
    against = {words: f"coalesce({form.where}, FALSE)" for words, form in rules.items()}
    whole = " OR ".join(against.values())
    count = int(data.connection.execute(f"SELECT count_if({whole}) FROM data").fetchall()[0][0] or 0)
    if not 0 < count <= share * data.rows + 1e-9:
        return 0
    if REASONS in data.types:
        raise DataUnusable(f"The data have a column `{REASONS}`, where the reasons of rows that are set aside belong.",
                           remedy="Rename the column at its source.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Rows cannot be set aside in {folder}: {error.strerror}.", remedy="Name a folder that can be written.") from None
    reasons = ", ".join(f"CASE WHEN {test} THEN {literal(words)} END" for words, test in against.items())
    spared = " UNION ALL BY NAME SELECT * FROM released" if data.released else ""
    _write(data, f"SELECT * FROM data WHERE NOT ({whole}){spared}", folder / KEPT)
    _write(data, f"SELECT *, list_filter([{reasons}], lambda x: x IS NOT NULL) AS {REASONS} FROM data WHERE {whole}", folder / ASIDE)
    return count


def discard(folder: Path) -> None:
    """Take away what an earlier check set aside."""
    for name in (KEPT, ASIDE) if folder.is_dir() else ():
        (folder / name).unlink(missing_ok=True)


def _write(data: Opened, query: str, path: Path) -> None:
    data.connection.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet)")
