"""Every way found in which Great Expectations passes, drops a check or raises while the data are bad, and what the gate says.

`docs/contracts.md` holds these cases as its table.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nightgate.contracts.gate import check
from nightgate.contracts.suites import parse_suite
from nightgate.errors import SuiteError
from tests.projects import ROOT

BAD = pd.DataFrame({"x": [1.0, 2.0, 500.0], "t": ["a", "b", "?"], "none": pd.Series([None] * 3, dtype="float64"), "k": [1, 1, 2],
                    "big": [2**53 + 1, 2**53 + 1, 5]})


@dataclass(frozen=True)
class Case:
    """`library` and `gate` are what each says: passes, drops, raises; refuses the file, stops."""

    title: str
    type: str
    arguments: Mapping[str, Any]
    library: str
    gate: str
    frame: pd.DataFrame = field(default_factory=lambda: BAD)


def between(**arguments: Any) -> dict[str, Any]:
    return {"column": "x", **arguments}


CASES = [
    Case("an unknown expectation", "expect_column_values_to_be_betwen", between(max_value=10), "drops it and passes", "refuses the file"),
    Case("a misspelt argument", "expect_column_values_to_be_between", between(max_valu=10), "refuses the file", "refuses the file"),
    Case("no rows", "expect_column_values_to_be_between", between(max_value=10), "passes", "stops", BAD.iloc[:0]),
    Case("no rows, a sum", "expect_column_sum_to_be_between", between(min_value=0), "passes", "stops", BAD.iloc[:0]),
    Case("an all-null column, a range", "expect_column_values_to_be_between", {"column": "none", "max_value": 1}, "passes", "stops"),
    Case("an all-null column, a set", "expect_column_values_to_be_in_set", {"column": "none", "value_set": [1]}, "passes", "stops"),
    Case("an all-null column, unique", "expect_column_values_to_be_unique", {"column": "none"}, "passes", "stops"),
    Case("an all-null column, a sum", "expect_column_sum_to_be_between", {"column": "none", "min_value": 0}, "passes", "stops"),
    Case("a mean without bounds", "expect_column_mean_to_be_between", between(), "passes", "refuses the file"),
    Case("a row count without bounds", "expect_table_row_count_to_be_between", {}, "passes", "refuses the file"),
    Case("a bound that is null", "expect_column_max_to_be_between", between(max_value=None), "passes", "refuses the file"),
    Case("mostly 0", "expect_column_values_to_be_between", between(max_value=0, mostly=0), "passes", "refuses the file"),
    Case("a name in other capitals", "expect_column_values_to_be_between", {"column": "X", "max_value": 1000}, "passes", "stops"),
    Case("a missing column", "expect_column_values_to_be_between", {"column": "y", "max_value": 1}, "raises, told as a result", "stops"),
    Case("numbers where text is", "expect_column_values_to_be_between", {"column": "t", "max_value": 1}, "raises, told as a result",
         "stops"),
    Case("a condition that selects nothing", "expect_column_values_to_be_between",
         between(max_value=1, row_condition="x > 9999", condition_parser="pandas"), "passes", "stops"),
    Case("a condition that is code", "expect_column_values_to_be_between",
         between(max_value=1000, row_condition="x.to_csv('written.csv') is None", condition_parser="pandas"), "runs it",
         "refuses the file"),
    Case("repeated keys without a value", "expect_compound_columns_to_be_unique", {"column_list": ["none", "void"]}, "passes", "stops",
         BAD.assign(void=BAD["none"])),
    Case("an integer beyond 2^53", "expect_column_max_to_be_between", {"column": "big", "max_value": 2**53}, "passes", "stops"),
    Case("a z-score of one row", "expect_column_value_z_scores_to_be_less_than", between(threshold=1, double_sided=True), "passes", "stops",
         BAD.iloc[:1]),
    Case("an outlier beside an infinity", "expect_column_values_to_not_be_outliers", between(method="std", multiplier=1), "passes", "stops",
         BAD.assign(x=[1.0, 500.0, float("inf")])),
    Case("a quantile", "expect_column_quantile_values_to_be_between",
         between(quantile_ranges={"quantiles": [0.5], "value_ranges": [[5, 10]]}), "raises and loses all results", "stops"),
    Case("a type by its name in pandas 3", "expect_column_values_to_be_in_type_list", {"column": "t", "type_list": ["object", "str"]},
         "stops on good data", "passes"),
]


def as_json(case: Case) -> dict[str, Any]:
    return {"name": "s", "expectations": [{"type": case.type, "kwargs": dict(case.arguments), "meta": {}}], "meta": {}}


def usual(case: Case, caplog: pytest.LogCaptureFixture) -> str:
    """Load and run a suite the usual way; say what the library made of it."""
    import great_expectations as gx
    from great_expectations.core.expectation_suite import ExpectationSuite
    from great_expectations.exceptions import GreatExpectationsError

    caplog.set_level(logging.CRITICAL, "great_expectations")
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    try:
        suite = context.suites.add(ExpectationSuite(**as_json(case)))
    except (GreatExpectationsError, ValueError, TypeError):
        return "refuses the file"
    whole = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("w")
    validation = gx.ValidationDefinition(name="v", data=whole, suite=suite)
    context.validation_definitions.add(validation)
    try:
        result = validation.run(batch_parameters={"dataframe": case.frame})
    except Exception:  # whatever it raises: no result came back
        return "raises and loses all results"
    if Path("written.csv").exists():
        return "runs it"
    if not suite.expectations:
        return "drops it and passes" if result.success else "drops it"
    if any("exception_message" in json.dumps(each.exception_info, default=str) and "true" in
           json.dumps(each.exception_info, default=str).lower() for each in result.results):
        return "raises, told as a result"
    return "passes" if result.success else "stops on good data"


def ours(case: Case, folder: Path) -> str:
    case.frame.to_parquet(folder / "data.parquet", index=False)
    try:
        suite = parse_suite(as_json(case), place="s")
    except SuiteError:
        return "refuses the file"
    return "passes" if check(suite, folder / "data.parquet", boundary="raw").success else "stops"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_the_library_lets_pass_the_gate_does_not(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)

    assert (usual(case, caplog), ours(case, tmp_path)) == (case.library, case.gate)


def test_the_documentation_lists_every_case() -> None:
    text = (ROOT / "docs" / "contracts.md").read_text()
    rows = re.findall(r"^\| (.+?) \| `?(\w+)`? \| (.+?) \| (.+?) \|$", text, re.MULTILINE)

    assert [row for row in rows if row[1].startswith(("expect_", "unexpected"))] == [
        (case.title, case.type, case.library, case.gate) for case in CASES]
