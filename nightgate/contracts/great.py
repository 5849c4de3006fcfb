"""Checks that only Great Expectations itself can make: a fresh context for each gate, every exception an error.

The library is imported only when a gate needs it, and without what gates do not use.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nightgate.contracts.conditions import identifier
from nightgate.contracts.forms import Finding
from nightgate.contracts.opening import Opened
from nightgate.contracts.patterns import Endless, demand_end
from nightgate.contracts.suites import Check

if TYPE_CHECKING:
    import pandas as pd

    from nightgate.contracts.gate import CheckResult


OF_DEVIATION = ("expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers")
"""Rules that mean nothing, and pass, where the values have no standard deviation: one alone, or with an infinity among them."""

OF_NULLS = ("expect_column_values_to_be_null", "expect_column_values_to_not_be_null")
"""Rules to which a missing value is a value."""


UNUSED = ("altair", "scipy.stats")
"""What the library imports for charts and for one kind of test: 1.2 s of its 3.3 s."""


class Later(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import system asks each module for these
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def great_expectations() -> Any:
    """Return the library, which knows our own expectations."""
    if "great_expectations" not in sys.modules:
        for name in UNUSED:
            parent, _, last = name.rpartition(".")
            if name not in sys.modules:
                sys.modules[name] = Later(name)
                if parent:
                    setattr(importlib.import_module(parent), last, sys.modules[name])
    library = importlib.import_module("great_expectations")
    importlib.import_module("nightgate.contracts.expectations")
    return library


def evaluate(checks: Sequence[Check], data: Opened, sensitive: frozenset[str]) -> Iterator["CheckResult"]:
    """Evaluate checks on pandas frames of their columns and rows; import the library only now, since that takes seconds.

    Row conditions select the rows here: the library would hand them to `DataFrame.query`, which runs code.
    """
    gx = great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl

    from nightgate.contracts.gate import of

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    for each in checks:
        hidden = bool(sensitive.intersection(each.columns))
        frame = _frame(each, data)
        arguments = {key: value for key, value in each.arguments.items() if key != "parse_strings_as_datetimes"}
        try:
            demand_end(each, [*frame[each.columns[0]].dropna().unique()] if each.columns else [])
            result = whole.get_batch({"dataframe": frame}).validate(get_expectation_impl(each.type)(**arguments), result_format="BASIC")
            raised = _raised(result.exception_info) or _without_deviation(each, frame)
        except Exception as error:  # whatever it raises, the check did not run
            raised = str(error) if isinstance(error, Endless) else f"{type(error).__name__}: {error}"
        if raised:
            yield of(each, error="raised", found=f"the check could not run: {raised.split(':')[0] if hidden else raised[:200]}")
        else:
            yield of(each, _finding(each, result, frame, hidden), examples=_examples(result, hidden))


def _without_deviation(each: Check, frame: "pd.DataFrame") -> str:
    import numpy as np

    if each.type not in OF_DEVIATION or np.isfinite(frame[each.columns[0]].dropna().astype(float).std()):
        return ""
    return "the values have no standard deviation"


def _frame(each: Check, data: Opened) -> "pd.DataFrame":
    names = ", ".join(map(identifier, dict.fromkeys(each.columns))) or "*"
    where = f" WHERE {each.condition.sql}" if each.condition else ""
    frame: pd.DataFrame = data.connection.sql(f"SELECT {names} FROM data{where}").to_arrow_table().to_pandas()
    return frame


def _finding(each: Check, result: Any, frame: "pd.DataFrame", hidden: bool) -> Finding:
    from nightgate.contracts.gate import MASK

    found = result.result or {}
    evaluated = len(frame)
    if each.type not in OF_NULLS:  # figures of nothing have no counts of their own
        evaluated = 0 if frame.isna().all().any() else evaluated - int(found.get("missing_count") or 0)
    unexpected = int(found.get("unexpected_count") or 0)
    told = MASK if hidden else str(found.get("observed_value", "so it is"))[:200]
    return Finding(bool(result.success), f"{unexpected:,} of {evaluated:,} rows against it" if unexpected else told, evaluated, unexpected)


def _examples(result: Any, hidden: bool) -> tuple[Any, ...]:
    from nightgate.contracts.gate import EXAMPLES, MASK

    values = (result.result or {}).get("partial_unexpected_list") or []
    return tuple(MASK if hidden else _plain(value) for value in values[:EXAMPLES])


def _plain(value: Any) -> Any:
    """Return a value of any of the library's kinds as the gate shows its own."""
    if isinstance(value, tuple | list | dict):
        return ", ".join(str(_plain(each)) for each in (value.values() if isinstance(value, dict) else value))
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, int | float | bool) else str(value)[:80]


def _raised(information: Any) -> str:
    """Return the message of an exception in either of the two shapes that the library gives it."""
    if not information:
        return ""
    if "raised_exception" in information:
        return str(information.get("exception_message")) if information["raised_exception"] else ""
    return next((str(each.get("exception_message")) for each in information.values()
                 if isinstance(each, dict) and each.get("raised_exception")), "")
