"""Telling of a broken contract: one cause is one message, in words a person can act on at night."""

import math
from collections.abc import Iterator, Sequence

from nightgate.contracts.gate import CheckResult, GateResult
from nightgate.contracts.sentences import number
from nightgate.wording import counted

SHOWN = 10
"""Causes that are told in full."""

TOLD_TOGETHER = 3
"""Failed checks of one cause that are told."""

LONGEST = 400
"""Characters of a rule in words: a set may name hundreds of values."""

ONE_CAUSE = ("missing column", "wrong type", "not evaluated")
"""Errors that keep every check of a column from running."""


def explain(result: GateResult, *, model: str = "") -> tuple[str, str]:
    """Return message and remedy of a gate that stopped."""
    failed = [each for each in result.results if each.stops]
    causes = [*_causes(failed)] if result.rows else ["The data have no row."]
    subject = f"{model}: the {result.boundary} contract" if model else f"The {result.boundary} contract"
    head = f"{subject} is broken: {in_short(result)}."
    rest = [f"… and {len(causes) - SHOWN} more"] if len(causes) > SHOWN else []
    message = "\n".join([head, *(f"  • {cause}" for cause in [*causes[:SHOWN], *rest, *warnings(result)])])
    file = f"data_contracts/{model}/{result.boundary}.json" if model else "the suite"
    return message, " ".join(["Mend the source and run again; if the data are right, change the rule in", f"{file}.",
                              *_leaving_out(result, failed), *(["Nothing was deployed."] if model else [])])


def message(result: GateResult, *, model: str = "") -> str:
    """Return the message of a gate, whether it let pass or stopped."""
    return passing(result) if result.success else explain(result, model=model)[0]


def passing(result: GateResult) -> str:
    """Return the message of a gate that let pass, with its warnings."""
    return "\n".join([in_short(result), *(f"  • {warning}" for warning in warnings(result))])


def in_short(result: GateResult) -> str:
    """Say in one line what a gate found."""
    warned = sum(not each.success and not each.stops for each in result.results)
    more = f", {counted(warned, 'warning')}" if warned else ""
    if result.success:
        aside = f", {counted(result.quarantined, 'row')} set aside" if result.quarantined else ""
        return f"{counted(result.checks - warned, 'check')} held on {counted(result.rows, 'row')}{aside}{more}"
    return f"{result.failed + result.errored} of {counted(result.checks, 'check')} failed on {counted(result.rows, 'row')}{more}"


def warnings(result: GateResult) -> list[str]:
    """Return a sentence for each check that failed and stops nothing."""
    found = [f"Only a {each.severity.replace('info', 'remark')}: {told(each)}." for each in result.results
             if not each.success and not each.stops]
    return [*found[:SHOWN], *([f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]


def broken(result: GateResult) -> list[str]:
    """Return a sentence for each check that failed."""
    return [told(each) for each in result.results if not each.success]


def expected(check: CheckResult) -> str:
    return check.sentence if len(check.sentence) <= LONGEST else check.sentence[:LONGEST] + "…"


def told(check: CheckResult) -> str:
    """Say what one failed check expected and found."""
    shown = [f"{number(value)} in row {name}" for value, name in zip(check.examples, check.ids, strict=False)][:5]
    shown = shown or [number(value) for value in dict.fromkeys(check.examples)][:5]
    examples = f", such as {', '.join(shown)}" if shown else ""
    share = f" ({check.share:.2%})" if check.unexpected else ""
    return f"{expected(check)}: {check.found}{share}{examples}"


def _causes(failed: Sequence[CheckResult]) -> Iterator[str]:
    """Yield a sentence for each cause: what is wrong with a column is one, however many checks it fails."""
    grouped: dict[str, list[CheckResult]] = {}
    for each in failed:
        subject = each.found if each.error == "missing column" else each.column or each.place
        grouped.setdefault(subject, []).append(each)
    absent = {each.column for each in failed if each.error == "missing column"}
    for checks in grouped.values():
        first, *others = sorted(checks, key=lambda check: (check.error not in ONE_CAUSE, not check.examples))
        if first.error in ONE_CAUSE:
            yield _kept_from_running(first, sum(check.error in ONE_CAUSE for check in checks))
        elif not (first.type == "expect_table_columns_to_match_set" and _missing(first.found) <= absent):
            rest = f"; and {len(checks) - TOLD_TOGETHER} more of its checks" if len(checks) > TOLD_TOGETHER else ""
            yield "; also ".join(map(told, (first, *others)[:TOLD_TOGETHER])) + f"{rest}."


def _kept_from_running(check: CheckResult, count: int) -> str:
    column = f"`{check.column}` " if check.error == "not evaluated" and check.column else ""
    found = f"{column}{check.found}"
    return f"{found[0].upper()}{found[1:]}: {count} {'check' if count == 1 else 'checks'} could not run."


def _missing(found: str) -> set[str | None]:
    """Return the columns that a result of `expect_table_columns_to_match_set` calls missing."""
    return {*found.partition(";")[0].removeprefix("missing ").split(", ")}


def _leaving_out(result: GateResult, failed: Sequence[CheckResult]) -> Iterator[str]:
    """Yield how the rows could be set aside, where rows alone are what is wrong, or what kept them from being so."""
    if result.not_of_rows:
        rule = result.not_of_rows[0]
        yield f"No row was set aside, for leaving rows out does not mend this: {rule[:LONGEST]}."
    elif failed and all(each.unexpected and not each.error and "unique" not in each.type for each in failed):
        share = math.ceil(round(sum(each.unexpected for each in failed) / result.rows * 10_000, 6)) / 10_000
        if result.may_leave_out < share <= 0.1:
            yield f"If the rows may be left out, write a share of {share} or more as meta.nightgate.quarantine there."
