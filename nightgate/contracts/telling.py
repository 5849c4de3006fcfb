"""Telling of a broken contract: one cause is one message, in words a person can act on at night."""

from collections.abc import Sequence

from nightgate.contracts.gate import CheckResult, GateResult

SHOWN = 10
"""Causes that are told in full."""


def explain(result: GateResult, *, model: str = "") -> tuple[str, str]:
    """Return message and remedy of a gate that stopped."""
    causes = list(_causes([each for each in result.results if not each.success and each.severity == "critical"]))
    if result.rows == 0:
        causes.insert(0, "The data have no row.")
    subject = f"{model}: the {result.boundary} contract" if model else f"The {result.boundary} contract"
    head = f"{subject} is broken by {result.rows:,} rows: {result.failed + result.errored} of {result.checks} checks failed."
    rest = [f"… and {len(causes) - SHOWN} more"] if len(causes) > SHOWN else []
    message = "\n".join([head, *(f"  • {cause}" for cause in [*causes[:SHOWN], *rest])])
    file = f"data_contracts/{model}/{result.boundary}.json" if model else "the suite"
    return message, f"Mend the source and run again; if the data are right, change the rule in {file}. Nothing was deployed."


def told(check: CheckResult) -> str:
    """Say what one failed check expected and found."""
    examples = f", such as {', '.join(str(value) for value in check.examples[:5])}" if check.examples else ""
    share = f" ({check.share:.2%})" if check.unexpected else ""
    return f"{check.sentence}: {check.found}{share}{examples}."


def _causes(failed: Sequence[CheckResult]) -> list[str]:
    """Return a sentence for each cause: a missing column is one, however many checks name it."""
    missing = {each.found: 0 for each in failed if each.error == "missing column"}
    for each in failed:
        if each.error == "missing column":
            missing[each.found] += 1
    absent = [f"{found[0].upper()}{found[1:]}: {count} checks could not run." for found, count in missing.items()]
    return [*absent, *(told(each) for each in failed if each.error != "missing column")]
