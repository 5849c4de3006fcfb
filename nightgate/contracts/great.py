"""Checks that only Great Expectations itself can make: a fresh context for each gate, every exception an error."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightgate.contracts.rules import sentence
from nightgate.contracts.suites import Check

if TYPE_CHECKING:
    import pandas as pd

    from nightgate.contracts.gate import CheckResult

EXAMPLES = 20


def evaluate(checks: Sequence[Check], path: Path, sensitive: frozenset[str]) -> Iterator["CheckResult"]:
    """Evaluate checks on a pandas frame of the file; import the library only now, since that takes seconds."""
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.registry import get_expectation_impl

    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    for each in checks:
        if each.condition is not None:
            yield _failed(each, "the check could not run: this type of check takes no row condition here")
            continue
        try:
            result = batch.validate(get_expectation_impl(each.type)(**each.arguments), result_format="BASIC")
        except Exception as error:  # whatever it raises, the check did not run
            yield _failed(each, f"the check could not run: {type(error).__name__}: {str(error)[:200]}")
            continue
        yield _result(each, result, frame, sensitive)


def _result(each: Check, result: Any, frame: "pd.DataFrame", sensitive: frozenset[str]) -> "CheckResult":
    from nightgate.contracts.gate import MASK, CheckResult

    if result.exception_info and _raised(result.exception_info):
        return _failed(each, f"the check could not run: {_raised(result.exception_info)[:200]}")
    found = result.result or {}
    evaluated = int(found.get("element_count", len(frame))) - int(found.get("missing_count") or 0)
    if evaluated <= 0 or (each.columns and frame[list(each.columns)].isna().all().any()):
        return _failed(each, "not evaluated: there is no row with a value to check")
    unexpected = int(found.get("unexpected_count") or 0)
    hidden = bool(set(each.columns) & sensitive)
    examples = [MASK if hidden else str(value)[:80] for value in (found.get("partial_unexpected_list") or [])[:EXAMPLES]]
    told = f"{unexpected:,} of {evaluated:,} rows against it" if unexpected else \
        MASK if hidden else str(found.get("observed_value", "so it is"))[:200]
    return CheckResult(each.type, each.columns[0] if each.columns else None, bool(result.success), sentence(each), told, evaluated,
                       unexpected, unexpected / evaluated, tuple(examples), "", each.severity, each.place)


def _raised(information: Any) -> str:
    """Return the message of an exception in either of the two shapes that the library gives it."""
    if "raised_exception" in information:
        return str(information.get("exception_message")) if information["raised_exception"] else ""
    return next((str(each.get("exception_message")) for each in information.values()
                 if isinstance(each, dict) and each.get("raised_exception")), "")


def _failed(each: Check, why: str) -> "CheckResult":
    from nightgate.contracts.gate import CheckResult

    return CheckResult(each.type, each.columns[0] if each.columns else None, success=False, sentence=sentence(each), found=why,
                       error="raised", severity=each.severity, place=each.place)
