"""What a rule means, at its edges: what Great Expectations means by it on pandas, and never a pass that nothing earned."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.suites import Suite, parse_suite
from nightgate.contracts.telling import explain, in_short, passing
from nightgate.contracts.values import moment
from nightgate.errors import DataUnusable, SuiteError, UsageError
from tests.commands import said, shown


def expect(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{name}", "kwargs": kwargs}


def suite(*expectations: dict[str, Any], **more: Any) -> Suite:
    return parse_suite({"name": "s", "expectations": [*expectations], "meta": {}, **more}, place="s")


def gated(folder: Path, frame: pd.DataFrame, *expectations: dict[str, Any], **options: Any) -> GateResult:
    frame.to_parquet(folder / "data.parquet", index=False)
    return check(suite(*expectations), folder / "data.parquet", boundary="raw", **options)


def test_a_bound_with_a_zone_is_in_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert moment("2026-03-01T12:00:00+02:00").isoformat() == "2026-03-01T10:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("pattern", "value", "matches"), [
    (r"^\w+$", "Zürich", True), (r"^\W$", "é", False), (r"^\w+$", "é", True), (r"^\d+$", "٣٤", True), (r"\bé\b", "an é", True),
    (r"(?m)^a$", "a\nb", True), (r"(?x) a b", "ab", True), (r"a(?#c)b", "ab", True), ("\\u00e9", "é", True), ("^a{1,1500}$", "aa", True),
    ("^a++$", "aa", True), ("^(?>a)b$", "ab", True), ("^a{,3}$", "aa", True), (r"^\w+$", "a b", False)])
def test_patterns_mean_what_they_mean_in_python(pattern: str, value: str, matches: bool, tmp_path: Path) -> None:
    result = gated(tmp_path, pd.DataFrame({"x": [value, None]}), expect("column_values_to_match_regex", column="x", regex=pattern),
                   expect("column_values_to_not_match_regex", column="x", regex=pattern))

    assert [each.success for each in result.results] == [matches, not matches]
    assert result.errored == 0 and sum(each.unexpected for each in result.results) == 1


def test_a_pattern_of_pythons_own_sets_rows_aside(tmp_path: Path) -> None:
    pd.DataFrame({"x": ["Zürich", "!", "Bern", "Genf"]}).to_parquet(tmp_path / "data.parquet")
    one = suite(expect("column_values_to_match_regex", column="x", regex=r"^\w+$"), meta={"nightgate": {"quarantine": 0.3}})

    result = check(one, tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside")

    assert result.success and pd.read_parquet(tmp_path / "aside" / "quarantined.parquet")["x"].to_list() == ["!"]


def test_a_pattern_in_a_json_schema_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightgate.contracts.patterns.LONGEST", 1)
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}

    result = gated(tmp_path, pd.DataFrame({"x": [json.dumps({"a": "a" * 32 + "!"})]}),
                   expect("column_values_to_match_json_schema", column="x", json_schema=schema))

    assert result.errored == 1 and "did not end" in result.results[0].found


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_what_could_not_run_stops_whatever_its_severity(severity: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2], "t": ["a", "b"]})

    for column in ("absent", "t"):
        result = gated(tmp_path, frame, expect("column_values_to_not_be_null", column="x"),
                       expect("column_values_to_be_between", column=column, max_value=1) | {"severity": severity})

        assert (result.success, result.failed, result.errored) == (False, 0, 1)
        assert "could not run" in explain(result)[0]


def test_a_warning_that_failed_is_told_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    rules = [expect("column_values_to_not_be_null", column="x"),
             expect("column_values_to_be_between", column="x", max_value=1) | {"severity": "warning"}]
    result = gated(tmp_path, pd.DataFrame({"x": [1, 2]}), *rules)
    (tmp_path / "suite.json").write_text(json.dumps({"name": "s", "expectations": rules}))

    assert in_short(result) == "1 check held on 2 rows, 1 warning"
    assert "Only a warning: `x` is at most 1" in passing(result)
    assert "`x` is at most 1: 1 of 2 rows against it (50.00%), such as 2" in shown(capsys, "gate", "suite.json", "data.parquet")


@pytest.mark.parametrize(("frame", "pairs", "holds"), [
    ({"x": ["1"], "y": ["a"]}, [[1, "a"]], False), ({"x": [1], "y": ["a"]}, [["1", "a"]], False),
    ({"x": [1], "y": ["a"]}, [[1.0, "a"]], True), ({"x": ["1"], "y": ["a"]}, [["1", "a"]], True)])
def test_pairs_hold_values_of_the_columns_own_kind(frame: dict[str, list[Any]], pairs: list[Any], holds: bool, tmp_path: Path) -> None:
    rule = expect("column_pair_values_to_be_in_set", column_A="x", column_B="y", value_pairs_set=pairs)

    assert gated(tmp_path, pd.DataFrame(frame), rule).success is holds


@pytest.mark.parametrize("expectation", [
    expect("column_values_to_be_between", column="big", max_value=1e17), expect("column_max_to_be_between", column="big", max_value=1e17),
    expect("column_values_to_be_in_set", column="big", value_set=[1e17]),
    expect("column_value_z_scores_to_be_less_than", column="big", threshold=3, double_sided=True),
    expect("column_value_z_scores_to_be_less_than", column="inf", threshold=3, double_sided=True),
    expect("column_values_to_not_be_outliers", column="inf", method="std", multiplier=3),
    expect("column_values_to_be_between", column="inf", max_value=-1, mostly=1e-10)])
def test_nothing_passes_for_want_of_a_figure(expectation: dict[str, Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"big": [10**17 + 1] * 3, "inf": [1.0, 2.0, np.inf]})

    assert not gated(tmp_path, frame.iloc[:1] if "z_scores" in expectation["type"] and expectation["kwargs"]["column"] == "big" else frame,
                     expectation).success


@pytest.mark.parametrize(("frame", "expectation"), [
    ({"x": pd.array([127], "Int8"), "y": pd.array([127], "Int8")}, expect("multicolumn_sum_to_equal", column_list=["x", "y"], sum_total=254)),
    ({"x": [True], "y": [4]}, expect("multicolumn_sum_to_equal", column_list=["x", "y"], sum_total=5)),
    ({"x": [1], "y": ["1"]}, expect("select_column_values_to_be_unique_within_record", column_list=["x", "y"])),
    ({"x": [1, 2]}, expect("column_distinct_values_to_contain_set", column="x", value_set=[1, 1.0, 2])),
    ({"x": pd.to_datetime(["2026-01-02"])}, expect("column_distinct_values_to_equal_set", column="x", value_set=["2026-01-02", "2026-01-02T00:00"])),
    ({"x": ["a"]}, expect("column_value_lengths_to_equal", column="x", value=1.0)),
    ({"x": [1]}, expect("column_values_to_be_of_type", column="x", type_="numpy.int64"))])
def test_good_data_pass(frame: dict[str, Any], expectation: dict[str, Any], tmp_path: Path) -> None:
    result = gated(tmp_path, pd.DataFrame(frame), expectation)

    assert result.success, result.results


def test_a_missing_set_member_is_still_missed(tmp_path: Path) -> None:
    rule = expect("column_distinct_values_to_contain_set", column="x", value_set=[1, "2", 3])

    assert not gated(tmp_path, pd.DataFrame({"x": [1, 2, 3]}), rule).success


def test_a_suite_gives_its_own_parameters(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 9]}).to_parquet(tmp_path / "data.parquet")
    rule = expect("column_values_to_be_between", column="x", max_value={"$PARAMETER": "lim"})

    for key in ("evaluation_parameters", "suite_parameters"):
        result = check(suite(rule, **{key: {"lim": 8}}), tmp_path / "data.parquet", boundary="raw")
        assert not result.success and result.results[0].sentence == "`x` is at most 8"
    with pytest.raises(SuiteError, match="max_value"):
        suite(rule, evaluation_parameters={"other": 8})


@pytest.mark.parametrize("arguments", [{"max_value": 10**400}, {"max_value": 1, "mostly": 10**400}])
def test_a_number_beyond_all_bounds_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(SuiteError, match=r"kwargs\.(max_value|mostly)"):
        suite(expect("column_values_to_be_between", column="x", **arguments))


def test_no_row_sets_nothing_aside(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2]})
    frame.to_parquet(tmp_path / "released.parquet")
    one = suite(expect("column_values_to_be_between", column="x", max_value=1), meta={"nightgate": {"quarantine": 0.1}})

    for rows, released in ((frame.iloc[:0], None), (frame, tmp_path / "released.parquet")):
        rows.to_parquet(tmp_path / "data.parquet", index=False)
        result = check(one, tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside", released=released)
        assert not result.success


@pytest.mark.parametrize("folder", ["file/aside", "/proc/aside"])
def test_a_folder_that_cannot_be_written_is_told(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    pd.DataFrame({"x": [1, 1, 9]}).to_parquet("data.parquet")
    Path("suite.json").write_text(json.dumps({"name": "s", "meta": {"nightgate": {"quarantine": 0.5}}, "expectations": [
        expect("column_values_to_be_between", column="x", max_value=1)]}))

    code, value = said(capsys, "gate", "suite.json", "data.parquet", "--quarantine", folder)

    assert code == 2 and value["files"][0]["error"]["kind"] == UsageError.__name__


def test_a_clean_check_leaves_no_rows_of_an_earlier_one(tmp_path: Path) -> None:
    one = suite(expect("column_values_to_be_between", column="x", max_value=1), meta={"nightgate": {"quarantine": 0.5}})
    for rows, left in (([1, 1, 9], 2), ([1, 1, 1], 0)):
        pd.DataFrame({"x": rows}).to_parquet(tmp_path / "data.parquet")
        assert check(one, tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside").success
        assert len([*(tmp_path / "aside").glob("*.parquet")]) == left


@pytest.mark.parametrize(("bad", "rows", "share"), [(63, 1_200, "0.0525"), (1, 30_001, "0.0001")])
def test_the_share_that_is_advised_is_enough(bad: int, rows: int, share: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [9] * bad + [1] * (rows - bad)})
    rule = expect("column_values_to_be_between", column="x", max_value=1)
    advice = explain(gated(tmp_path, frame, rule))[1]
    one = suite(rule, meta={"nightgate": {"quarantine": float(share)}})

    assert f"write a share of {share} or more" in advice
    assert check(one, tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside").success


@pytest.mark.parametrize(("one", "other"), [({"max_value": 1}, {"max_value": 1.0}), ({"max_value": 1}, {"max_value": 1, "mostly": 1.0})])
def test_rules_that_say_the_same_are_repeated(one: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(SuiteError, match="repeats"):
        suite(*(expect("column_values_to_be_between", column="x", **each) for each in (one, other)))


def test_reasons_never_stand_under_another_name(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 1, 9], "nightgate_reasons": "mine"}).to_parquet(tmp_path / "data.parquet")
    one = suite(expect("column_values_to_be_between", column="x", max_value=1), meta={"nightgate": {"quarantine": 0.5}})

    with pytest.raises(DataUnusable, match="nightgate_reasons"):
        check(one, tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside")
