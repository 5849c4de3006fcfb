"""Every expectation of the library's registry, and of our own, has one case that holds and one that does not; both engines agree on them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightgate.contracts.gate import check
from nightgate.contracts.great import evaluate
from nightgate.contracts.mistakes import ELSEWHERE
from nightgate.contracts.opening import Opened, opened
from nightgate.contracts.suites import Check, known_expectations, parse_suite
from nightgate.errors import SuiteError

FRAME = pd.DataFrame({
    "n": [1.5, 2.0, 3.25, np.nan, 10.0], "i": [1, 2, 3, 4, 4], "j": [1, 2, 3, 5, 4], "t": ["ab", "b", "ab", None, "ü%"],
    "day": ["2026-01-01", "2026-01-02", None, "2026-01-04", "2026-01-05"], "json": ['{"a": 1}', "[]", None, "2", "{}"],
    "d": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", None, "2026-01-05"]), "b": [True, False, True, True, False],
    "verdict": ["quiet", "quiet", "watch", "undecided", "alarm"]})

A, B = {"column_A": "i", "column_B": "j"}, {"column_A": "j", "column_B": "i"}
SAME, OTHER = {"column_list": ["i", "i"]}, {"column_list": ["i", "j"]}
COLUMNS = list(FRAME)


def of(column: str, **more: Any) -> dict[str, Any]:
    return {"column": column, **more}


def quantiles(column: str, *bounds: tuple[float, Any, Any]) -> dict[str, Any]:
    return of(column, quantile_ranges={"quantiles": [each[0] for each in bounds], "value_ranges": [list(each[1:]) for each in bounds]})


def spread(threshold: float) -> dict[str, Any]:
    return of("t", partition_object={"values": ["ab", "b"], "weights": [0.5, 0.5]}, threshold=threshold, tail_weight_holdout=0.1,
              bucketize_data=False)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "column_distinct_values_to_be_in_set": (of("t", value_set=["ab", "b", "ü%"]), of("t", value_set=["ab", "b"])),
    "column_distinct_values_to_contain_set": (of("i", value_set=[1, 4]), of("i", value_set=[1, 9])),
    "column_distinct_values_to_equal_set": (of("i", value_set=[1, 2, 3, 4]), of("i", value_set=[1, 2, 3])),
    "column_kl_divergence_to_be_less_than": (spread(2.0), spread(0.1)),
    "column_max_to_be_between": (of("n", max_value=10), of("n", max_value=10, strict_max=True)),
    "column_mean_to_be_between": (of("i", min_value=2.8, max_value=2.8), of("n", max_value=1)),
    "column_median_to_be_between": (of("n", min_value=2.625, max_value=2.625), of("n", max_value=2)),
    "column_min_to_be_between": (of("i", min_value=1), of("n", min_value=1.5, strict_min=True)),
    "column_most_common_value_to_be_in_set": (of("t", value_set=["ab"]), of("t", value_set=["b"])),
    "column_pair_values_a_to_be_greater_than_b": ({**B, "or_equal": True}, A),
    "column_pair_values_to_be_equal": ({**A, "mostly": 0.8}, A),
    "column_pair_values_to_be_in_set": ({**A, "value_pairs_set": [[1, 1], [2, 2], [3, 3], [4, 5], [4, 4]]}, {**A, "value_pairs_set": [[1, 1]]}),
    "column_proportion_of_non_null_values_to_be_between": (of("n", min_value=0.8, max_value=0.8), of("n", min_value=0.9)),
    "column_proportion_of_unique_values_to_be_between": (of("t", min_value=0.75, max_value=0.75), of("i", min_value=0.9)),
    "column_quantile_values_to_be_between": (quantiles("n", (0, 1.5, 1.5), (0.5, 3.25, 3.25), (1, None, 10)), quantiles("i", (0.5, 4, None))),
    "column_stdev_to_be_between": (of("i", min_value=1.3, max_value=1.31), of("n", max_value=1)),
    "column_sum_to_be_between": (of("n", min_value=16.75, max_value=16.75), of("i", max_value=13)),
    "column_to_exist": (of("i", column_index=1), of("z")),
    "column_type_to_be": (of("i", type_="int64"), of("t", type_="int64")),
    "column_unique_value_count_to_be_between": (of("t", min_value=2), of("i", min_value=5)),
    "column_value_lengths_to_be_between": (of("t", min_value=1, max_value=2), of("t", max_value=1)),
    "column_value_lengths_to_equal": (of("t", value=2, mostly=0.75), of("t", value=2)),
    "column_value_z_scores_to_be_less_than": (of("n", threshold=3, double_sided=True), of("n", threshold=0.5, double_sided=True)),
    "column_values_to_be_between": (of("n", min_value=2, mostly=0.75), of("n", min_value=2, mostly=0.76)),
    "column_values_to_be_dateutil_parseable": (of("day"), of("t")),
    "column_values_to_be_decreasing": (of("i", mostly=0.4), of("n")),
    "column_values_to_be_in_set": (of("i", value_set=[1, 2, 3, 4, "x"]), of("t", value_set=["ab", 1])),
    "column_values_to_be_in_type_list": (of("i", type_list=["int", "int64"]), of("n", type_list=["int64", "str"])),
    "column_values_to_be_increasing": (of("i"), of("j")),
    "column_values_to_be_json_parseable": (of("json"), of("t")),
    "column_values_to_be_null": (of("t", mostly=0.2), of("t")),
    "column_values_to_be_of_type": (of("n", type_="float64"), of("t", type_="float64")),
    "column_values_to_be_unique": (of("n"), of("i")),
    "column_values_to_match_json_schema": (of("json", json_schema={"type": ["object", "array", "number"]}), of("json", json_schema={"type": "object"})),
    "column_values_to_match_like_pattern": (of("t", like_pattern="%b", mostly=0.6), of("t", like_pattern="%b")),
    "column_values_to_match_like_pattern_list": (of("t", like_pattern_list=["%b", "ü%"]), of("t", like_pattern_list=["a%", "ü%"])),
    "column_values_to_match_regex": (of("t", regex="[bü]"), of("t", regex="^[ab]+$")),
    "column_values_to_match_regex_list": (of("t", regex_list=["^a", "^[bü]"]), of("t", regex_list=["a", "b"], match_on="all")),
    "column_values_to_match_strftime_format": (of("day", strftime_format="%Y-%m-%d"), of("day", strftime_format="%d.%m.%Y")),
    "column_values_to_not_be_in_set": (of("t", value_set=["z", 1]), of("i", value_set=[4])),
    "column_values_to_not_be_null": (of("i"), of("n")),
    "column_values_to_not_be_outliers": (of("i", method="iqr", multiplier=1.5), of("n", method="iqr", multiplier=0.1)),
    "column_values_to_not_match_like_pattern": (of("t", like_pattern="z%"), of("t", like_pattern="a%")),
    "column_values_to_not_match_like_pattern_list": (of("t", like_pattern_list=["z%"]), of("t", like_pattern_list=["z%", "a%"])),
    "column_values_to_not_match_regex": (of("t", regex="z$"), of("t", regex="b$")),
    "column_values_to_not_match_regex_list": (of("t", regex_list=["z", "y"]), of("t", regex_list=["z", "b"])),
    "compound_columns_to_be_unique": ({"column_list": ["i", "j"]}, {"column_list": ["b", "t"]}),
    "drift_to_be_decided": ({"mostly": 0.8}, {}),
    "drift_to_be_insignificant": ({"row_condition": 'i < 3'}, {}),
    "drift_to_raise_no_alarm": ({"row_condition": "t != 'ü%'"}, {"row_condition": "j >= 4"}),
    "multicolumn_sum_to_equal": ({**SAME, "sum_total": 2, "row_condition": "i == 1"}, {**OTHER, "sum_total": 2}),
    "multicolumn_values_to_be_equal": (SAME, OTHER),
    "select_column_values_to_be_unique_within_record": ({"column_list": ["i", "n"], "mostly": 0.8}, OTHER),
    "table_column_count_to_be_between": ({"min_value": 9, "max_value": 9}, {"min_value": 10}),
    "table_column_count_to_equal": ({"value": 9}, {"value": 7}),
    "table_columns_to_match_ordered_list": ({"column_list": COLUMNS}, {"column_list": COLUMNS[::-1]}),
    "table_columns_to_match_set": ({"column_set": ["i", "n"], "exact_match": False}, {"column_set": ["i", "n"]}),
    "table_row_count_to_be_between": ({"min_value": 1}, {"min_value": 5, "strict_min": True}),
    "table_row_count_to_equal": ({"value": 5}, {"value": 2, "row_condition": 'col("i") >= 3'})}

OURS_ONLY = {"column_values_to_match_like_pattern", "column_values_to_match_like_pattern_list", "column_values_to_not_match_like_pattern",
             "column_values_to_not_match_like_pattern_list"}
"""The library has these in databases only."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    path = tmp_path_factory.mktemp("frame") / "data.parquet"
    FRAME.to_parquet(path, index=False)
    with opened(path) as found:
        yield found


def checked(kind: str, arguments: dict[str, Any]) -> Check:
    return parse_suite({"name": "s", "expectations": [{"type": kind, "kwargs": arguments}]}, place="s").checks[0]


def test_every_expectation_has_its_cases() -> None:
    mine = {f"expect_{name}" for name in CASES} | ELSEWHERE.keys() | {"unexpected_rows_expectation"}

    assert mine == set(known_expectations())


@pytest.mark.parametrize("holds", [True, False], ids=["holds", "fails"])
@pytest.mark.parametrize("name", CASES)
def test_a_case_is_judged_rightly(name: str, holds: bool, data: Opened, tmp_path: Path) -> None:
    one = parse_suite({"name": "s", "expectations": [{"type": f"expect_{name}", "kwargs": CASES[name][not holds]}]}, place="s")
    FRAME.to_parquet(tmp_path / "data.parquet", index=False)

    result = check(one, tmp_path / "data.parquet", boundary="raw")

    assert (result.success, result.errored if name != "column_to_exist" else 0) == (holds, 0), result.results
    if name in OURS_ONLY or name.startswith("table_col") or name == "column_to_exist":
        return
    (theirs,) = evaluate(one.checks, data, frozenset())
    assert (theirs.success, theirs.error) == (holds, ""), theirs
    assert result.results[0].unexpected in (theirs.unexpected, 0), theirs


def test_unexpected_rows_are_selected_by_a_condition_and_by_nothing_else(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "data.parquet", index=False)
    for condition, holds in (("i > 4", True), ("i > 3", False)):
        one = parse_suite({"name": "s", "expectations": [{"type": "unexpected_rows_expectation", "kwargs": {
            "unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {condition}"}}]}, place="s")
        assert check(one, tmp_path / "data.parquet", boundary="raw").success == holds

    for query in ("SELECT * FROM {batch}; DROP TABLE x", "SELECT * FROM {batch} WHERE 1 = 1", "DELETE FROM {batch}",
                  "SELECT * FROM {batch} WHERE i > (SELECT 1)"):
        with pytest.raises(SuiteError, match="SQL is never run"):
            checked("unexpected_rows_expectation", {"unexpected_rows_query": query})


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_needs_another_table_is_refused(name: str) -> None:
    with pytest.raises(SuiteError, match="a gate sees one file"):
        checked(name, {})
