"""The gate: one scan of the data answers every check; rows are fetched only for what failed.

A gate passes only if every check of the contract ran, on at least one row, and held.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.rules import Figure, Grouped, RowRule, Rule, Shape, rule, sentence
from nightgate.contracts.suites import Check, Suite
from nightgate.errors import DataUnusable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXAMPLES = 20
MASK = "•••"
MEMORY = "1GB"
"""What DuckDB may use before it spills to disk."""

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Spellings of a missing value in a CSV file that no definition describes, as pandas has them."""

ROUNDING = 1e-9
"""Relative slack of a bound on a figure: sums depend on their order in the last bits."""

STATEMENT = 60
"""Aggregates of one statement: more make its compilation slower than a second scan."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found. `unexpected` counts rows against it, `share` is that of the evaluated rows."""

    type: str
    column: str | None
    success: bool
    sentence: str
    found: str
    evaluated: int = 0
    unexpected: int = 0
    share: float = 0.0
    examples: tuple[Any, ...] = ()
    error: str = ""
    severity: str = "critical"
    place: str = ""


@dataclass(frozen=True)
class GateResult:
    """What a gate found. `failed` and `errored` count critical checks; `kept` is the file of the rows that passed."""

    boundary: str
    success: bool
    rows: int
    checks: int
    failed: int
    errored: int
    quarantined: int
    seconds: float
    suite_sha256: str
    results: tuple[CheckResult, ...]
    kept: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check(suite: Suite, path: Path, *, boundary: str, sensitive: frozenset[str] = frozenset(),
          quarantine_to: Path | None = None) -> GateResult:
    """Check a Parquet or CSV file against a contract. Values of `sensitive` columns are never shown.

    With `quarantine_to` (a folder), rows against row rules are set aside up to the share that the contract allows:
    `kept.parquet` and `quarantined.parquet`, the latter with `nightgate_reasons`. Raises DataUnusable when the file cannot
    be read.
    """
    import duckdb

    begin = time.perf_counter()
    with duckdb.connect(config={"memory_limit": MEMORY, "preserve_insertion_order": "true"}) as connection:
        types = _opened(connection, path)
        rows = int(connection.execute("SELECT count(*) FROM data").fetchall()[0][0])
        results = _results(connection, suite, types, rows, sensitive, path)
        failing = [each for each in results if not each.success and each.severity == "critical"]
        quarantined, kept = 0, None
        if failing and rows and quarantine_to is not None:
            quarantined, kept = _quarantine(connection, suite, results, rows, quarantine_to)
    if kept is not None:
        again = check(replace(suite, quarantine=0.0), kept, boundary=boundary, sensitive=sensitive)
        return replace(again, rows=rows, quarantined=quarantined, kept=str(kept), seconds=time.perf_counter() - begin)
    ran = len(results) == len(suite.checks)
    return GateResult(boundary, ran and rows > 0 and not failing, rows, len(suite.checks),
                      sum(not each.error for each in failing) + (rows == 0 and not failing), sum(bool(each.error) for each in failing),
                      0, time.perf_counter() - begin, suite.sha256, tuple(results))


def _opened(connection: "DuckDBPyConnection", path: Path) -> dict[str, str]:
    """Make the view `data`, NaN as null like pandas; return the columns' types."""
    import duckdb

    reader = "read_csv" if path.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".csv.zst")) else "read_parquet"
    missing = f", nullstr=[{', '.join(map(literal, MISSING))}]" if reader == "read_csv" else ""
    source = f"{reader}({literal(str(path))}{missing})"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        floats = [name for name, kind, *_ in described if kind in ("FLOAT", "DOUBLE")]
        known = ", ".join(f"CASE WHEN isnan({identifier(name)}) THEN NULL ELSE {identifier(name)} END AS {identifier(name)}"
                          for name in floats)
        connection.execute(f"CREATE VIEW data AS SELECT *{f' REPLACE ({known})' if known else ''} FROM {source}")
        if reader == "read_csv":
            connection.execute("CREATE TEMP TABLE held AS SELECT * FROM data")
            connection.execute("CREATE OR REPLACE VIEW data AS SELECT * FROM held")
    except duckdb.Error as error:
        raise DataUnusable(f"{path.name} cannot be read: {str(error).splitlines()[0]}", remedy="Look at the file: it may be cut "
                           "off, or be of another kind than its name says.") from None
    return {str(name): str(kind) for name, kind, *_ in described}


def _results(connection: "DuckDBPyConnection", suite: Suite, types: dict[str, str], rows: int, sensitive: frozenset[str],
             path: Path) -> list[CheckResult]:
    """Return a result for every check, in the order of the file."""
    found: dict[str, CheckResult] = {}
    ruled: list[tuple[Check, Rule]] = []
    foreign: list[Check] = []
    for each in suite.checks:
        absent = [name for name in (*each.columns, *(each.condition.columns if each.condition else ())) if name not in types]
        if absent and each.type != "expect_column_to_exist":
            found[each.place] = _result(each, success=False, found=f"there is no column {', '.join(f'`{name}`' for name in absent)}",
                                        error="missing column")
        elif (form := rule(each)) is None:
            foreign.append(each)
        else:
            ruled.append((each, form))
    for each, result in zip([each for each, _ in ruled], _evaluated(connection, ruled, types, rows, sensitive), strict=True):
        found[each.place] = result
    if foreign:
        from nightgate.contracts.great import evaluate

        found |= {result.place: result for result in evaluate(foreign, path, sensitive)}
    return [found[each.place] for each in suite.checks if each.place in found]


def _evaluated(connection: "DuckDBPyConnection", ruled: Sequence[tuple[Check, Rule]], types: dict[str, str], rows: int,
               sensitive: frozenset[str]) -> Iterator[CheckResult]:
    values = _asked(connection, [part for _, form in ruled for part in _aggregates(form)])
    for each, form in ruled:
        if isinstance(form, Shape):
            wrong = form.holds(types)
            yield _result(each, success=wrong is None, found=wrong or "so it is", evaluated=rows)
            continue
        figures = [values[part] for part in _aggregates(form)]
        broken = next((value for value in figures if isinstance(value, Exception)), None)
        if broken is not None:
            yield _result(each, success=False, found=f"the check could not run: {str(broken).splitlines()[0][:200]}", error="raised")
        elif isinstance(form, RowRule):
            yield _of_rows(connection, each, form, int(figures[0]), int(figures[1]), sensitive)
        elif isinstance(form, Grouped):
            yield _of_groups(connection, each, form, int(figures[0]), sensitive)
        else:
            yield _of_figures(each, form if isinstance(form, Sequence) else [form], figures, sensitive)


def _aggregates(form: Rule) -> list[str]:
    if isinstance(form, RowRule):
        return [f"count(*) FILTER (WHERE {form.applies})", f"count(*) FILTER (WHERE ({form.applies}) AND ({form.against}))"]
    if isinstance(form, Grouped):
        return [f"count(*) FILTER (WHERE {form.applies})"]
    if isinstance(form, Shape):
        return []
    return [part for figure in (form if isinstance(form, Sequence) else [form]) for part in (figure.sql, figure.counts)]


def _asked(connection: "DuckDBPyConnection", parts: Sequence[str]) -> dict[str, Any]:
    """Answer aggregates in as few scans as possible; one that cannot run spoils only itself."""
    import duckdb

    unique = list(dict.fromkeys(parts))
    answers: dict[str, Any] = {}
    for start in range(0, len(unique), STATEMENT):
        batch = unique[start:start + STATEMENT]
        try:
            row = connection.execute(f"SELECT {', '.join(batch)} FROM data").fetchall()[0]
            answers |= dict(zip(batch, row, strict=True))
        except duckdb.Error:
            for part in batch:
                try:
                    answers[part] = connection.execute(f"SELECT {part} FROM data").fetchall()[0][0]
                except duckdb.Error as error:
                    answers[part] = error
    return answers


def _of_rows(connection: "DuckDBPyConnection", each: Check, form: RowRule, evaluated: int, against: int,
             sensitive: frozenset[str]) -> CheckResult:
    if evaluated == 0:
        return _unevaluated(each)
    share = against / evaluated
    # The count that `mostly` allows is compared, not the share: 0.95 of 20 rows is 19.
    held = evaluated - against >= each.mostly * evaluated - 1e-9
    examples: tuple[Any, ...] = ()
    if not held and "IS NULL" not in form.against:
        examples = _examples(connection, each, f"({form.applies}) AND ({form.against})", sensitive)
    return _result(each, success=held, found=f"{against:,} of {evaluated:,} rows against it" if against else "all rows",
                   evaluated=evaluated, unexpected=against, share=share, examples=examples)


def _of_groups(connection: "DuckDBPyConnection", each: Check, form: Grouped, evaluated: int, sensitive: frozenset[str]) -> CheckResult:
    if evaluated == 0:
        return _unevaluated(each)
    names = ", ".join(identifier(name) for name in form.columns)
    twins = int(connection.execute(f"SELECT coalesce(sum(n), 0) FROM (SELECT count(*) AS n FROM data WHERE {form.applies} "
                                   f"GROUP BY {names} HAVING count(*) > 1)").fetchall()[0][0])
    held = evaluated - twins >= each.mostly * evaluated - 1e-9
    examples: tuple[Any, ...] = ()
    if not held:
        found = connection.execute(f"SELECT {names} FROM data WHERE {form.applies} GROUP BY {names} HAVING count(*) > 1 "
                                   f"ORDER BY {names} LIMIT {EXAMPLES}").fetchall()
        examples = tuple(_shown(row, form.columns, sensitive) for row in found)
    return _result(each, success=held, found=f"{twins:,} of {evaluated:,} rows share their value with another" if twins else
                   "all different", evaluated=evaluated, unexpected=twins, share=twins / evaluated, examples=examples)


def _of_figures(each: Check, forms: Sequence[Figure], values: Sequence[Any], sensitive: frozenset[str]) -> CheckResult:
    counted = int(min(values[1::2]))
    if counted == 0 and not each.type.startswith("expect_table_row_count"):
        return _unevaluated(each)
    wrong = [form for form, value in zip(forms, values[0::2], strict=True) if value is None or not _within(form, value)]
    shown = MASK if set(each.columns) & sensitive and not each.type.endswith("count_to_be_between") else \
        ", ".join(_number(value) for value in values[0::2])
    return _result(each, success=not wrong, found=shown, evaluated=counted)


def _within(form: Figure, value: Any) -> bool:
    if isinstance(value, float) and any(isinstance(bound, float) and abs(value - bound) <= ROUNDING * abs(bound)
                                        for bound in (form.low, form.high)):
        return True
    try:
        above = form.low is None or (value > form.low if form.strict_low else value >= form.low)
        below = form.high is None or (value < form.high if form.strict_high else value <= form.high)
    except TypeError:  # a date against a number, for one
        return _within(replace(form, low=None if form.low is None else str(form.low),
                               high=None if form.high is None else str(form.high)), str(value))
    return bool(above and below)


def _examples(connection: "DuckDBPyConnection", each: Check, where: str, sensitive: frozenset[str]) -> tuple[Any, ...]:
    names = ", ".join(identifier(name) for name in each.columns)
    rows = connection.execute(f"SELECT {names} FROM data WHERE {where} LIMIT {EXAMPLES}").fetchall()
    return tuple(_shown(row, each.columns, sensitive) for row in rows)


def _shown(row: Sequence[Any], columns: Sequence[str], sensitive: frozenset[str]) -> Any:
    values = [MASK if name in sensitive else value if isinstance(value, int | float | bool | None) else str(value)[:80]
              for name, value in zip(columns, row, strict=True)]
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


def _unevaluated(each: Check) -> CheckResult:
    return _result(each, success=False, found="not evaluated: there is no row with a value to check", error="not evaluated")


def _result(each: Check, *, success: bool, found: str, evaluated: int = 0, unexpected: int = 0, share: float = 0.0,
            examples: tuple[Any, ...] = (), error: str = "") -> CheckResult:
    return CheckResult(each.type, each.columns[0] if each.columns else None, success, sentence(each), found, evaluated, unexpected,
                       share, examples, error, each.severity, each.place)


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _quarantine(connection: "DuckDBPyConnection", suite: Suite, results: Sequence[CheckResult], rows: int, folder: Path
                ) -> tuple[int, Path | None]:
    """Set aside the rows against row rules, if only row rules failed and their share is allowed."""
    failing = {each.place for each in results if not each.success and each.severity == "critical"}
    forms = [(each, form) for each in suite.checks if each.place in failing and isinstance(form := rule(each), RowRule)]
    if suite.quarantine == 0.0 or len(forms) < len(failing):
        return 0, None
    bad = {sentence(each): f"coalesce(({form.applies}) AND ({form.against}), FALSE)" for each, form in forms}
    whole = " OR ".join(bad.values())
    count = int(connection.execute(f"SELECT count(*) FILTER (WHERE {whole}) FROM data").fetchall()[0][0])
    if count > suite.quarantine * rows:
        return 0, None
    folder.mkdir(parents=True, exist_ok=True)
    reasons = ", ".join(f"CASE WHEN {test} THEN {literal(words)} END" for words, test in bad.items())
    kept = folder / "kept.parquet"
    connection.execute(f"COPY (SELECT * FROM data WHERE NOT ({whole})) TO {literal(str(kept))} (FORMAT parquet)")
    connection.execute(f"COPY (SELECT *, list_filter([{reasons}], lambda x: x IS NOT NULL) AS nightgate_reasons FROM data "
                       f"WHERE {whole}) TO {literal(str(folder / 'quarantined.parquet'))} (FORMAT parquet)")
    return count, kept
