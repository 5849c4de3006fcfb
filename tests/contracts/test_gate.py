"""A gate passes only if every check ran on at least one row and held."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightgate.contracts.gate import MASK, GateResult, check
from nightgate.contracts.great import evaluate
from nightgate.contracts.opening import opened
from nightgate.contracts.rules import rule
from nightgate.contracts.suites import Suite, parse_suite
from nightgate.contracts.telling import explain
from nightgate.errors import DataUnusable

FRAME = pd.DataFrame({"n": [1.0, 2.0, 3.0, np.nan], "i": [1, 2, 3, 4], "t": ["a", "b", "a", None], "e": [None] * 4,
                      "d": pd.to_datetime(["2026-01-01"] * 4), "b": [True, False, True, True], 'o"dd': [1, 1, 2, 3]})


def suite(*expectations: dict[str, Any], **own: Any) -> Suite:
    return parse_suite({"name": "s", "expectations": list(expectations), "meta": {"nightgate": own}}, place="s")


def expect(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{name}", "kwargs": kwargs}


def gated(folder: Path, one: Suite, frame: pd.DataFrame = FRAME, **options: Any) -> GateResult:
    frame.to_parquet(folder / "data.parquet", index=False)
    return check(one, folder / "data.parquet", boundary="raw", **options)


HOLDS = [expect("column_to_exist", column="n"), expect("table_columns_to_match_set", column_set=["n", "i"], exact_match=False),
         expect("table_columns_to_match_ordered_list", column_list=list(FRAME)), expect("table_column_count_to_equal", value=7),
         expect("table_row_count_to_equal", value=4), expect("table_row_count_to_be_between", min_value=1),
         expect("column_values_to_be_of_type", column="t", type_="object"),
         expect("column_values_to_be_in_type_list", column="i", type_list=["INTEGER", "int64"]),
         expect("column_values_to_not_be_null", column="i"), expect("column_values_to_not_be_null", column="n", mostly=0.75),
         expect("column_values_to_be_null", column="e"), expect("column_values_to_be_between", column="n", min_value=1, max_value=3),
         expect("column_values_to_be_in_set", column="t", value_set=["a", "b"]),
         expect("column_values_to_not_be_in_set", column="t", value_set=["z"]),
         expect("column_value_lengths_to_equal", column="t", value=1),
         expect("column_values_to_match_regex", column="t", regex="^[ab]$"), expect("column_values_to_be_unique", column="i"),
         expect("compound_columns_to_be_unique", column_list=["i", "n"]),
         expect("column_pair_values_a_to_be_greater_than_b", column_A="i", column_B="n", or_equal=True,
                ignore_row_if="either_value_is_missing"),
         expect("column_mean_to_be_between", column="n", min_value=2, max_value=2),
         expect("column_median_to_be_between", column="i", min_value=2.5, max_value=2.5),
         expect("column_stdev_to_be_between", column="n", min_value=0.99, max_value=1.01),
         expect("column_sum_to_be_between", column="n", min_value=6, max_value=6),
         expect("column_unique_value_count_to_be_between", column="t", min_value=2, max_value=2),
         expect("column_quantile_values_to_be_between", column="n", quantile_ranges={"quantiles": [0.5], "value_ranges": [[2, 2]]}),
         expect("column_values_to_be_between", column='o"dd', min_value=1),
         expect("column_values_to_be_between", column="i", max_value=2, row_condition="n <= 2")]
FAILS = [expect("column_to_exist", column="z"), expect("table_columns_to_match_set", column_set=["n", "z"], exact_match=False),
         expect("table_row_count_to_equal", value=5), expect("column_values_to_be_of_type", column="t", type_="int64"),
         expect("column_values_to_not_be_null", column="n"), expect("column_values_to_be_null", column="n"),
         expect("column_values_to_be_between", column="n", max_value=2), expect("column_values_to_be_between", column="n", min_value=1, strict_min=True),
         expect("column_values_to_be_in_set", column="t", value_set=["a"]), expect("column_values_to_match_regex", column="t", regex="^a$"),
         expect("column_values_to_be_unique", column="t"), expect("column_mean_to_be_between", column="n", min_value=2.1),
         expect("column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="i"),
         expect("column_unique_value_count_to_be_between", column="t", min_value=3),
         expect("column_values_to_be_between", column="z", max_value=2), expect("column_values_to_be_between", column="t", max_value=2),
         expect("column_mean_to_be_between", column="t", max_value=2), expect("column_value_lengths_to_equal", column="n", value=1),
         # The library passes each of these:
         expect("column_values_to_be_between", column="e", max_value=2), expect("column_values_to_be_in_set", column="e", value_set=["a"]),
         expect("column_values_to_be_unique", column="e"), expect("column_values_to_match_regex", column="e", regex="a"),
         expect("column_values_to_be_between", column="i", max_value=2, row_condition="n > 99"),
         expect("column_values_to_be_between", column="i", max_value=99, row_condition="absent > 99")]


@pytest.mark.parametrize("expectation", HOLDS, ids=lambda each: each["type"])
def test_what_holds_passes(expectation: dict[str, Any], tmp_path: Path) -> None:
    result = gated(tmp_path, suite(expectation))

    assert result.success, result.results
    assert (result.checks, len(result.results)) == (1, 1)


@pytest.mark.parametrize("expectation", FAILS, ids=lambda each: f"{each['type']} {each['kwargs'].get('column', '')}")
def test_what_does_not_hold_or_could_not_run_fails(expectation: dict[str, Any], tmp_path: Path) -> None:
    result = gated(tmp_path, suite(expectation))

    assert not result.success
    assert result.failed + result.errored == 1


def test_no_rows_never_pass(tmp_path: Path) -> None:
    for expectation in HOLDS:
        assert not gated(tmp_path, suite(expectation), FRAME.iloc[:0]).success, expectation


def test_one_check_that_fails_spoils_no_other(tmp_path: Path) -> None:
    result = gated(tmp_path, suite(*HOLDS[:20], FAILS[16], FAILS[17]))

    assert [each.success for each in result.results] == [True] * 20 + [False] * 2


def test_a_warning_is_told_and_does_not_stop(tmp_path: Path) -> None:
    result = gated(tmp_path, suite(HOLDS[0], {**FAILS[6], "severity": "warning"}))

    assert result.success and not result.results[1].success


def test_a_missing_column_is_one_cause(tmp_path: Path) -> None:
    checks = [expect("column_values_to_not_be_null", column="z"), expect("column_values_to_be_between", column="z", max_value=1),
              expect("column_mean_to_be_between", column="z", max_value=1)]

    message, remedy = explain(gated(tmp_path, suite(*checks)), model="credit")

    assert message.count("•") == 1 and "There is no column `z`: 3 checks could not run." in message
    assert "data_contracts/credit/raw.json" in remedy


def test_examples_are_shown_but_never_of_a_sensitive_column(tmp_path: Path) -> None:
    one = suite(expect("column_values_to_be_in_set", column="t", value_set=["b"]), expect("column_mean_to_be_between", column="n", max_value=1))

    shown, masked = gated(tmp_path, one), gated(tmp_path, one, sensitive=frozenset({"t", "n"}))

    assert shown.results[0].examples == ("a", "a")
    assert masked.results[0].examples == (MASK, MASK) and masked.results[1].found == MASK


@pytest.mark.parametrize(("name", "content"), [("data.parquet", b"PAR1 cut \xff\xfe" * 3), ("data.csv", b"a,b\n1,\xff\xfe\n"),
                                             ("data.csv.gz", b"\x1f\x8b\x08cut")])
def test_files_that_cannot_be_read_are_told(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataUnusable, match="cannot be read|is not utf-8: column 2|is damaged"):
        check(suite(HOLDS[0]), tmp_path / name, boundary="raw")


def test_csv_is_read_with_the_usual_spellings_of_missing(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,x\nNA,y\n3,\n")

    result = check(suite(expect("column_mean_to_be_between", column="a", min_value=2, max_value=2),
                         expect("column_values_to_not_be_null", column="b", mostly=0.5)), tmp_path / "data.csv", boundary="raw")

    assert result.success, result.results


def test_what_has_no_form_of_its_own_goes_to_the_library(tmp_path: Path) -> None:
    one = suite(expect("column_values_to_be_increasing", column="i"), expect("multicolumn_sum_to_equal", column_list=["i", "i"], sum_total=1),
                expect("column_values_to_be_json_parseable", column="e"))

    result = gated(tmp_path, one)

    assert [each.success for each in result.results] == [True, False, False]
    assert [rule(each) is None for each in one.checks] == [True, False, True]


@settings(max_examples=25)
@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=12), st.integers(-5, 5), st.sampled_from([1.0, 0.9, 0.5]))
def test_both_ways_agree_where_the_library_is_right(values: list[int | None], bound: int, mostly: float) -> None:
    import tempfile

    frame = pd.DataFrame({"x": pd.array(values, dtype="Float64").to_numpy(dtype=float, na_value=np.nan)})
    one = suite(expect("column_values_to_be_between", column="x", min_value=bound, mostly=mostly),
                expect("column_values_to_be_in_set", column="x", value_set=[0, 1, 2, bound], mostly=mostly),
                expect("column_values_to_not_be_null", column="x", mostly=mostly),
                expect("column_values_to_be_unique", column="x", mostly=mostly),
                expect("column_max_to_be_between", column="x", max_value=bound))
    with tempfile.TemporaryDirectory() as folder:
        ours = gated(Path(folder), one, frame).results
        with opened(Path(folder) / "data.parquet") as data:
            theirs = list(evaluate(one.checks, data, frozenset()))

    for mine, other in zip(ours, theirs, strict=True):
        if not other.error:
            assert (mine.success, mine.unexpected) == (other.success, other.unexpected), mine.sentence


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(50, 100), st.sampled_from([0.05, 0.3]))
def test_passed_and_quarantined_are_all_that_was_read(values: list[int], bound: int, share: float) -> None:
    import tempfile

    one = suite(expect("column_values_to_be_between", column="x", max_value=bound), quarantine=share)
    with tempfile.TemporaryDirectory() as folder:
        result = gated(Path(folder), one, pd.DataFrame({"x": values}), quarantine_to=Path(folder) / "aside")
        bad = sum(value > bound for value in values)
        if result.kept is None:
            assert result.success == (bad == 0)
            assert bad == 0 or bad > share * len(values) or bad == len(values)
            return
        kept, aside = pd.read_parquet(result.kept), pd.read_parquet(Path(folder) / "aside" / "quarantined.parquet")

    assert sorted([*kept["x"], *aside["x"]]) == sorted(values)
    assert result.quarantined == len(aside) == bad <= share * len(values)
    assert all(len(reasons) == 1 for reasons in aside["nightgate_reasons"])


def test_texts_of_a_broken_contract_are_bounded(tmp_path: Path) -> None:
    one = suite(*(expect("column_values_to_be_in_set", column="t", value_set=["nowhere", f"{number} {'x' * 400}"]) for number in range(60)))

    message, _ = explain(gated(tmp_path, one))

    assert "and 57 more of its checks" in message and len(message) <= 4_000


NIGHT = datetime(2026, 3, 10)
DATES = pd.DataFrame({"d": pd.to_datetime(["2026-03-01", "2026-03-09"]), "t": ["2026-03-01", "2026-03-09"], "b": [True, False]})


@pytest.mark.parametrize(("expectation", "holds"), [
    (expect("column_max_to_be_between", column="d", min_value={"$PARAMETER": "now() - timedelta(days=2)"}), True),
    (expect("column_max_to_be_between", column="d", min_value={"$PARAMETER": "now() - timedelta(hours=2)"}), False),
    (expect("column_values_to_be_between", column="d", max_value={"$PARAMETER": "now()"}), True),
    (expect("column_values_to_be_between", column="t", min_value="2026-03-01", parse_strings_as_datetimes=True), True),
    (expect("column_values_to_be_between", column="d", min_value="2026-03-02"), False),
    (expect("column_values_to_be_between", column="d", min_value="2026-02-28T23:00:00+00:00"), True),
    (expect("column_values_to_be_in_set", column="d", value_set=["2026-03-01", "2026-03-09"]), True),
    (expect("column_values_to_be_in_set", column="b", value_set=[True, 0]), True),
    (expect("column_values_to_be_in_set", column="b", value_set=["true"]), False),
    (expect("column_values_to_be_between", column="d", min_value="no date"), False)])
def test_dates_and_truths_are_compared_with_their_like(expectation: dict[str, Any], holds: bool, tmp_path: Path) -> None:
    DATES.to_parquet(tmp_path / "data.parquet", index=False)

    assert check(suite(expectation), tmp_path / "data.parquet", boundary="raw", now=NIGHT).success is holds


@pytest.mark.parametrize("one", [
    expect("column_quantile_values_to_be_between", column="x", quantile_ranges={"quantiles": [0.1, 0.9], "value_ranges": [[0, 1], [0, 1]]}),
    expect("column_kl_divergence_to_be_less_than", column="x", partition_object={"values": [1, 2], "weights": [0.5, 0.5]}, threshold=1),
    expect("column_values_to_be_between", column="x", max_value=3), expect("column_mean_to_be_between", column="x", max_value=3),
    expect("column_values_to_be_unique", column="x"), expect("column_unique_value_count_to_be_between", column="x", max_value=3),
    expect("column_proportion_of_unique_values_to_be_between", column="x", max_value=1)])
def test_a_column_without_a_value_is_not_evaluated(one: dict[str, Any], tmp_path: Path) -> None:
    result = gated(tmp_path, suite(one), pd.DataFrame({"x": pd.array([None, None], dtype="Int64"), "y": [1, 2]}))
    assert not result.success and result.results[0].error == "not evaluated"


def test_a_pattern_that_runs_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightgate.contracts.patterns.LONGEST", 1)
    rules = [expect("column_values_to_match_regex", column="x", regex=pattern) for pattern in ("^(?=a)(a+)+$", "^(?=a)a+!$", "^(a+)+$")]
    result = gated(tmp_path, suite(*rules), pd.DataFrame({"x": ["a" * 40 + "!"]}))
    assert [(each.success, each.error) for each in result.results] == [(False, "raised"), (True, ""), (False, "")]


@pytest.mark.parametrize("values", [[[1, 2], [3]], [{"a": 1}, {"a": 2}]])
def test_lists_and_structs_are_of_no_type_that_a_range_needs(values: list[Any], tmp_path: Path) -> None:
    rules = [expect("column_values_to_be_between", column="x", min_value=1), expect("column_values_to_not_be_null", column="x")]
    result = gated(tmp_path, suite(*rules), pd.DataFrame({"x": values}))
    assert [(each.success, each.error) for each in result.results] == [(False, "wrong type"), (True, "")]


def test_a_table_of_thousands_of_columns_is_checked(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.ones((3, 2_000)), columns=[f"c{number}" for number in range(2_000)])
    frame.loc[0, "c1999"] = np.nan
    result = gated(tmp_path, suite(*(expect("column_values_to_not_be_null", column=name) for name in frame)), frame)
    assert (result.checks, result.failed, result.errored) == (2_000, 1, 0)


def test_a_damaged_night_is_looked_at_everywhere(tmp_path: Path) -> None:
    evidence = {"meta": {"nightgate": {"rows": 100, "missing": 0}}}
    rules = [expect("column_values_to_be_between", column="x", max_value=10),
             expect("column_values_to_not_be_null", column="t", mostly=0.5) | evidence,
             expect("column_values_to_not_be_null", column="u", mostly=0.5) | {"meta": {"nightgate": {"rows": 100, "missing": 3}}}]
    good = pd.DataFrame({"x": [1, 2, 3, 4, 5], "t": ["a", None, "c", "d", "e"], "u": ["a", "b", None, "d", "e"]})

    calm = gated(tmp_path, suite(*rules, quarantine=0.5), good, quarantine_to=tmp_path / "calm")
    damaged = gated(tmp_path, suite(*rules, quarantine=0.5), good.assign(x=[1, 2, 3, 4, 50]), quarantine_to=tmp_path / "damaged")
    narrow = gated(tmp_path, suite(*rules, quarantine=0.2), good.assign(x=[1, 2, 3, 4, 50]), quarantine_to=tmp_path / "narrow")

    assert (calm.quarantined, damaged.quarantined, narrow.quarantined) == (0, 2, 1)
    assert damaged.success and set(pd.read_parquet(tmp_path / "damaged" / "quarantined.parquet")["x"]) == {2, 50}


@pytest.mark.parametrize(("other", "told"), [
    (expect("table_row_count_to_equal", value=20), "row count to equal value 20: 19"), (expect("column_max_to_be_between", column="x", max_value=30), "largest"),
    (expect("column_values_to_be_unique", column="y"), "different in every row")], ids=["fails for the rest", "fails too", "about rows, but not single ones"])
def test_the_rule_that_keeps_rows_from_being_set_aside_is_told(other: dict[str, Any], told: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [*range(19), 50], "y": [*range(18), 17, 17]})
    of_rows = expect("column_values_to_be_between", column="x", max_value=30)

    def remedy(*rules: dict[str, Any], quarantine: float) -> str:
        return explain(gated(tmp_path, suite(*rules, quarantine=quarantine), frame, quarantine_to=tmp_path / "aside"))[1]

    assert "write a share of 0.05" in remedy(of_rows, quarantine=0.01)
    assert "No row was set aside" in remedy(of_rows, other, quarantine=0.1) and "write a share" not in remedy(of_rows, other, quarantine=0.1)
    assert told in remedy(of_rows, other, quarantine=0.1)
