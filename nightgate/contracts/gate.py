"""The gate: one scan of the data answers every check; rows are fetched only for what failed.

A gate passes only if every check of the contract ran, on at least one row, and held. Rows against row rules may be set aside with
their reasons: what is kept and what is set aside are all that was read.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightgate.contracts.conditions import identifier, literal
from nightgate.contracts.forms import Finding, Grouped, RowRule, Rule, Shape
from nightgate.contracts.opening import Opened, answers_to, opened
from nightgate.contracts.patterns import Endless, of_python
from nightgate.contracts.rules import rule
from nightgate.contracts.sentences import sentence
from nightgate.contracts.suites import Check, Suite
from nightgate.contracts.values import Misfit, at
from nightgate.errors import DataUnusable, UsageError

EXAMPLES = 20
MASK = "•••"
KEPT, ASIDE = "kept.parquet", "quarantined.parquet"
REASONS = "nightgate_reasons"
"""Column of quarantined rows: a list of the rules that they are against, in words."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found. `unexpected` counts rows against it, `share` is that of the evaluated rows; `ids` name the rows of
    the examples, where a column that does so was named."""

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
    ids: tuple[Any, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether the gate stops for it: a critical check that failed, or any that could not run."""
        return not self.success and (self.severity == "critical" or bool(self.error))


@dataclass(frozen=True)
class GateResult:
    """What a gate found. `failed` counts critical checks, `errored` those that could not run; `kept` names the file of what passed.
    `may_leave_out` is the share of rows that the contract lets be set aside, `not_of_rows` the rules that kept any from being so: these
    failed, too, or would for the rest, and are not about single rows."""

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
    may_leave_out: float = 0.0
    not_of_rows: tuple[str, ...] = ()


def check(suite: Suite, path: Path, *, boundary: str, sensitive: frozenset[str] = frozenset(), identity: str | None = None,
          quarantine_to: Path | None = None, now: datetime | None = None, released: Path | None = None) -> GateResult:
    """Check a Parquet or CSV file against a contract. Values of `sensitive` columns are never shown.

    `identity` is a column whose values name the rows of the examples.
    `now` is the night that bounds such as `now() - timedelta(days=7)` count from, in the time zone of the data; this moment in
    UTC when absent.
    Rows that are in `released`, a Parquet file, pass unchecked: a person let them out of the quarantine.
    With `quarantine_to` (a folder), rows against row rules are set aside up to the share that the contract allows, if the rest
    then passes: `kept.parquet` and `quarantined.parquet`, the latter with `nightgate_reasons`. Raises FileMissing, and
    DataUnusable when the file cannot be read.
    """
    begin = time.perf_counter()
    if quarantine_to is not None:
        discard(quarantine_to)
    now = now or datetime.now(UTC).replace(tzinfo=None)
    with opened(path, released=released) as data:
        if identity is not None and identity not in data.types:
            raise UsageError(f"{path.name} has no column `{identity}` to name its rows by.",
                             remedy=f"It has {', '.join(list(data.types)[:12])}.")
        asked = replace(suite, checks=tuple(at(each, now, suite.folder, data.table_of) for each in suite.checks))
        results = tuple(_results(data, asked, sensitive, identity))
        found = _result(suite, boundary, data.rows, results)
        if not found.success and quarantine_to is not None and suite.quarantine:
            found = _quarantined(data, asked, found, quarantine_to, lambda path: check(
                replace(suite, quarantine=0.0), path, boundary=boundary, sensitive=sensitive, identity=identity, now=now,
                released=released))
        found = replace(found, rows=data.rows + data.released)
    return replace(found, seconds=time.perf_counter() - begin)


def _quarantined(data: Opened, suite: Suite, before: GateResult, folder: Path, again: Callable[[Path], GateResult]) -> GateResult:
    """Return the result of the rows that pass when those against row rules are set aside; of all rows, if that does not help.

    A night that is damaged somewhere is looked at everywhere: rows of a kind that was never seen go aside with those against
    the rules that failed, if the share allows. Rules that held by their share of all rows may not hold for the rest: rows
    against these are set aside then, too.
    """
    found, against = before, set[str]()
    strange = {sentence(each): form for each in suite.checks if never_seen(each) and isinstance(form := form_of(each, data), RowRule)}
    while not found.success:
        failing = {each.place: f"{each.sentence}: {each.found}" for each in found.results if each.stops and each.place not in against}
        against |= failing.keys()
        forms = {sentence(each): form_of(each, data) for each in suite.checks if each.place in against}
        rules = {words: form for words, form in forms.items() if isinstance(form, RowRule)}
        aside = 0
        if failing and len(rules) == len(against):
            aside = set_aside(data, {**strange, **rules}, suite.quarantine, folder) or set_aside(data, rules, suite.quarantine, folder)
        if aside == 0:
            discard(folder)
            whole = [each for each in suite.checks if each.place in failing and not isinstance(form_of(each, data), RowRule)]
            return replace(before, not_of_rows=tuple(failing[each.place] for each in whole))
        found = again(folder / KEPT)
    told = tuple(now if first.success else replace(first, success=True, found=f"{first.found}: set aside")
                 for now, first in zip(found.results, before.results, strict=True))
    return replace(found, rows=before.rows, quarantined=aside, kept=str(folder / KEPT), results=told, may_leave_out=suite.quarantine)


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


def never_seen(each: Check) -> bool:
    """Return whether no row was against a rule when it was learnt, by the evidence in its meta."""
    seen = each.meta.get("nightgate") or {}
    return "rows" in seen and not any(seen.get(key) for key in ("missing", "against", "seen_most"))


def _result(suite: Suite, boundary: str, rows: int, results: tuple[CheckResult, ...]) -> GateResult:
    failing = [each for each in results if each.stops]
    errored = sum(bool(each.error) for each in failing)
    ran = sorted(each.place for each in results) == sorted(each.place for each in suite.checks)
    failed = len(failing) - errored + int(not failing and (rows == 0 or not ran))
    return GateResult(boundary, failed + errored == 0, rows, len(suite.checks), failed, errored, 0, 0.0, suite.sha256, results,
                      may_leave_out=suite.quarantine)


def _results(data: Opened, suite: Suite, sensitive: frozenset[str], identity: str | None) -> Iterator[CheckResult]:
    """Yield a result for every check, in the order of the file."""
    forms = {each.place: form_of(each, data) for each in suite.checks}
    asked = answers_to(data, [form for form in forms.values() if not isinstance(form, CheckResult | None)])
    foreign = [each for each in suite.checks if forms[each.place] is None]
    others: dict[str, CheckResult] = {}
    if foreign:
        from nightgate.contracts.great import evaluate

        others = {result.place: result for result in evaluate(foreign, data, sensitive)}
    for each in suite.checks:
        form = forms[each.place]
        if isinstance(form, CheckResult):
            yield form
        elif form is None:
            yield others.get(each.place, of(each, error="no result came back"))
        else:
            found = _judged(each, form, asked, data, sensitive)
            named = identity is not None and isinstance(form, RowRule) and not found.success and found.unexpected
            yield replace(found, ids=_ids(data, form, str(identity), sensitive)) if named else found


def form_of(each: Check, data: Opened) -> Rule | CheckResult | None:
    """Return the form of a check, None if it has none here, or why it cannot be asked of these data."""
    named = (*each.columns, *(each.condition.columns if each.condition else ()))
    absent = [name for name in dict.fromkeys(named) if name not in data.types]
    if absent and each.type != "expect_column_to_exist":
        return of(each, error="missing column", found=f"there is no column {', '.join(f'`{name}`' for name in absent)}")
    try:
        form = (of_python(each, data) if "regex" in each.type else None) or rule(each, data.types)
        return replace(form, by_value="") if isinstance(form, RowRule) and form.by_value and form.by_value not in data.few else form
    except Endless as error:
        return of(each, error="raised", found=f"the check could not run: {error}")
    except Misfit as error:
        return of(each, error="wrong type", found=f"`{each.columns[0]}`: {error}" if each.columns else str(error))


def _judged(each: Check, form: Rule, asked: dict[str, Any], data: Opened, sensitive: frozenset[str]) -> CheckResult:
    if isinstance(form, Shape):
        wrong = form.wrong(data.types)
        return of(each, Finding(not wrong, wrong or "so it is", data.rows))
    answers = [asked[part] for part in form.asks]
    hidden = bool(sensitive.intersection(each.columns))
    broken = next((answer for answer in answers if isinstance(answer, Exception)), None)
    if broken is not None:  # its text may quote a value
        why = type(broken).__name__ if hidden else str(broken).splitlines()[0][:200]
        return of(each, error="raised", found=f"the check could not run: {why}")
    finding = form.judge(answers, each.mostly)
    if hidden and finding.of_values:
        finding = replace(finding, found=MASK)
    failed = not finding.success and finding.evaluated > 0
    return of(each, finding, examples=_examples(data, each, form, sensitive) if failed else ())


def _examples(data: Opened, each: Check, form: Rule, sensitive: frozenset[str]) -> tuple[Any, ...]:
    names = ", ".join(map(identifier, each.columns))
    if isinstance(form, Grouped):
        sql = f"SELECT {names} FROM data WHERE {form.where} GROUP BY {names} HAVING count(*) > 1 ORDER BY {names}"
    elif isinstance(form, RowRule) and form.examples:
        sql = f"SELECT {names} FROM data WHERE {form.where}"
    else:
        return ()
    rows = data.connection.execute(f"{sql} LIMIT {EXAMPLES}").fetchall()
    return tuple(_shown(row, each.columns, sensitive) for row in rows)


def _ids(data: Opened, form: Rule, identity: str, sensitive: frozenset[str]) -> tuple[Any, ...]:
    assert isinstance(form, RowRule)
    rows = data.connection.execute(f"SELECT {identifier(identity)} FROM data WHERE {form.where} LIMIT {EXAMPLES}").fetchall()
    return tuple(_shown(row, [identity], sensitive) for row in rows)


def _shown(row: Sequence[Any], columns: Sequence[str], sensitive: frozenset[str]) -> Any:
    values = [MASK if name in sensitive else value if isinstance(value, int | float | bool | None) else str(value)[:80]
              for name, value in zip(columns, row, strict=True)]
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


def of(each: Check, finding: Finding | None = None, *, examples: tuple[Any, ...] = (), error: str = "", found: str = "") -> CheckResult:
    """Return the result of a check: what it found, or the error that kept it from running."""
    if finding is not None and finding.evaluated <= 0:
        finding, error, found = None, "not evaluated", "not evaluated: there is no row with a value to check"
    finding = finding or Finding(False, found or error, 0)
    share = finding.unexpected / finding.evaluated if finding.unexpected else 0.0
    return CheckResult(each.type, each.columns[0] if each.columns else None, finding.success, sentence(each), finding.found,
                       finding.evaluated, finding.unexpected, share, examples, error, each.severity, each.place)
