"""Suites are read strictly: what the library would pass silently is refused with its place in the file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nightgate.contracts.conditions import parse_condition
from nightgate.contracts.suites import current_form, known_expectations, parse_suite, read_suite
from nightgate.errors import FileMissing, SuiteError

TITANIC = Path(__file__).resolve().parents[3] / "shared/data/gx_titanic/suite_titanic_warning.json"
GOOD = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "a", "min_value": 0}}


def mistakes(*expectations: Any, meta: Any = None) -> str:
    with pytest.raises(SuiteError) as refused:
        parse_suite({"name": "s", "expectations": list(expectations), "meta": meta or {}}, place="s")
    return "\n".join(refused.value.details["mistakes"])


def check(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": name, "kwargs": kwargs}


@pytest.mark.parametrize(("expectation", "told"), [
    (check("expect_column_values_to_be_betwixt", column="a"), "expectations[0].type: found `expect_column_values_to_be_betwixt`"),
    (check("expect_column_values_to_be_between", column="a", min_val=1), "kwargs.min_val: no argument of it; did you mean `min_value`?"),
    (check("expect_column_values_to_be_between", column="a"), "without a bound it always passes"),
    (check("expect_column_mean_to_be_between", column="a", min_value=None, max_value=None), "without a bound"),
    (check("expect_column_values_to_be_between", column="a", min_value=3, max_value=1), "above max_value 1"),
    (check("expect_column_values_to_be_between", column="a", max_value=2**60), "up to 2^53"),
    (check("expect_column_values_to_not_be_null", column="a", mostly=0), "kwargs.mostly"),
    (check("expect_column_values_to_not_be_null"), "kwargs.column: found nothing"),
    (check("expect_column_values_to_be_in_set", column="a", value_set=[]), "always passes"),
    (check("expect_column_quantile_values_to_be_between", column="a",
           quantile_ranges={"quantiles": [0.5], "value_ranges": [[None, None]]}), "at least one bound"),
    ({**GOOD, "severity": "fatal"}, ".severity"), ({"type": GOOD["type"], "kwargs": []}, "found no object"), ("text", "found str"),
    ({**GOOD, "kwargs": {**GOOD["kwargs"], "row_condition": "x.to_csv('f') is None"}}, "row_condition: cannot understand")])  # type: ignore[dict-item]
def test_what_cannot_be_meant_is_refused(expectation: Any, told: str) -> None:
    assert told in mistakes(expectation)


def test_all_mistakes_are_told_at_once() -> None:
    told = mistakes(check("expect_none", column="a"), GOOD, check("expect_column_values_to_be_unique"))

    assert "expectations[0]" in told and "expectations[2]" in told and "expectations[1]" not in told


BETWEEN, AMONG = "expect_column_values_to_be_between", "expect_column_values_to_be_in_set"


@pytest.mark.parametrize(("first", "second", "refused"), [
    (check(BETWEEN, column="b", min_value=5), check(BETWEEN, column="b", max_value=3), True),
    (check(BETWEEN, column="b", min_value=5), check(BETWEEN, column="b", max_value=5), False),
    (check(BETWEEN, column="b", min_value=5), check(BETWEEN, column="c", max_value=3), False),
    (check(BETWEEN, column="b", min_value=5, mostly=0.5), check(BETWEEN, column="b", max_value=3, mostly=0.5), False),
    (check(BETWEEN, column="b", min_value=5), check(BETWEEN, column="b", max_value=3, row_condition="c == 1"), False),
    (check(AMONG, column="b", value_set=[1, 2]), check(BETWEEN, column="b", max_value=0), True),
    (check(AMONG, column="b", value_set=[1, 2]), check(AMONG, column="b", value_set=[2, 3]), False),
    (check(AMONG, column="b", value_set=["x"]), check(AMONG, column="b", value_set=["y"]), True),
    (check(AMONG, column="b", value_set=["x"]), check(BETWEEN, column="b", max_value=0), False)])
def test_rules_that_nothing_can_keep_together_are_refused(first: Any, second: Any, refused: bool) -> None:
    if refused:
        assert "contradicts expectations[0]: no value of `b`" in mistakes(first, second)
    else:
        assert len(parse_suite({"name": "s", "expectations": [first, second]}, place="s").checks) == 2


def test_repeated_rules_and_names_that_differ_by_case_are_refused() -> None:
    assert "repeats expectations[0]" in mistakes(GOOD, GOOD)
    assert "differ by case only" in mistakes(GOOD, check("expect_column_to_exist", column="A"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"expectations": []}', '{"name": "s"}', "[" * 5_000,
                                     '{"expectations": [], "expectations": []}', '{"x": NaN, "expectations": [{}]}',
                                     '{"expectations": [{}], "meta": {"nightgate": {"quarantine": 2}}}', "x" * (6 * 2**20)])
def test_files_that_are_no_suite_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "raw.json"
    path.write_text(content)

    with pytest.raises(SuiteError):
        read_suite(path)


def test_a_suite_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"raw\.json"):
        read_suite(tmp_path / "raw.json")


@pytest.mark.skipif(not TITANIC.exists(), reason="the real data sets are not here")
def test_a_suite_of_an_old_version_is_read() -> None:
    assert len(read_suite(TITANIC).checks) == len(json.loads(TITANIC.read_text())["expectations"])


def test_reading_imports_nothing_heavy() -> None:
    code = "import sys\nfrom nightgate.contracts import suites\nprint(sorted({'pandas', 'duckdb', 'great_expectations', 'numpy'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_table_of_expectations_is_the_librarys_registry() -> None:
    import great_expectations.expectations.core  # noqa: F401 - fills the registry
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    import nightgate.contracts.expectations  # noqa: F401 - adds our own

    registered = list_registered_expectation_implementations()

    assert set(known_expectations()) == set(registered)
    for name in registered:
        fields = set(get_expectation_impl(name).__fields__)
        assert set(known_expectations()[name]["takes"]) <= fields, name


@pytest.mark.parametrize(("text", "sql"), [
    ("x > 3", '(("x" > 3) IS TRUE)'), ('col("a b").notNull()', '("a b" IS NOT NULL)'), ("`a` is null", '("a" IS NULL)'),
    ("a == 'it\\'s' and not b in (1, 2)", "(((\"a\" = 'it''s') IS TRUE) AND (NOT ((\"b\" IN (1, 2)) IS TRUE)))"),
    ("a - `b c` > 0.5", '((("a" - "b c") > 0.5) IS TRUE)'), ("x != y", '(NOT (("x" = "y") IS TRUE))'),
    ("x != true or (y <= -1.5)", '(("x" IS DISTINCT FROM TRUE) OR (("y" <= -1.5) IS TRUE))')])
def test_conditions_become_quoted_sql(text: str, sql: str) -> None:
    assert parse_condition(text).sql == sql


@pytest.mark.parametrize("text", ["", "x", "x >", "x.to_csv('f')", "__import__('os').system('x')", "x > 3; DROP TABLE data", "@x > 1",
                                  "x > 3 + 1", "x +", "x > 3 --", "x in ()", "a" * 3_000, 3, "(" * 400 + "x > 3" + ")" * 400,
                                  "not " * 400 + "x > 3"])
def test_anything_else_is_no_condition(text: object) -> None:
    with pytest.raises(SuiteError):
        parse_condition(text)


def written(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "column": {"name": "x"}, **more}


@pytest.mark.parametrize(("condition", "sql"), [
    (written("comparison", operator=">", parameter=3), '(("x" > 3) IS TRUE)'),
    (written("comparison", operator="IN", parameter=["a", "b"]), """(("x" IN ('a', 'b')) IS TRUE)"""),
    (written("comparison", operator="NOT_IN", parameter=[1]), '(NOT (("x" IN (1)) IS TRUE))'),
    (written("nullity", is_null=True), '("x" IS NULL)'),
    ({"type": "or", "conditions": [written("nullity", is_null=False), {"type": "pass_through", "pass_through_filter": "x == True"}]},
     '(("x" IS NOT NULL) OR (("x" = TRUE) IS TRUE))')])
def test_conditions_that_newer_versions_write_as_objects_are_understood(condition: dict[str, Any], sql: str) -> None:
    assert parse_condition(condition).sql == sql
    assert parse_condition(condition).columns == ("x",)


@pytest.mark.parametrize("condition", [
    {}, written("comparison", operator="LIKE", parameter="a"), written("comparison", operator=">", parameter=[1]),
    written("comparison", operator=">", parameter={"a": 1}), written("nullity", is_null="yes"), {"type": "and", "conditions": []},
    {"type": "pass_through", "pass_through_filter": "x.to_csv('f')"}, {"type": "comparison", "column": "x", "operator": ">", "parameter": 1},
    "x > " + "1" * 3_000])
def test_objects_that_are_no_condition_are_refused(condition: Any) -> None:
    with pytest.raises(SuiteError):
        parse_condition(condition)


def test_conditions_that_nest_without_end_are_refused() -> None:
    condition: dict[str, Any] = written("nullity", is_null=True)
    for _ in range(100):
        condition = {"type": "and", "conditions": [condition]}

    with pytest.raises(SuiteError, match="deeper"):
        parse_condition(condition)


@pytest.mark.parametrize(("expectation", "told"), [
    (check("expect_column_values_to_be_between", column="a", min_value="x", max_value=3), "one a text, the other a number"),
    (check("expect_column_values_to_be_between", column="a", min_value="2026-02-01", max_value="2026-01-01"), "nothing can satisfy it"),
    (check("expect_column_values_to_be_between", column="a", min_value=True), "a bound is a number"),
    (check("expect_table_row_count_to_equal", value=-1), "a whole number from 0"),
    (check("expect_column_values_to_match_regex", column="a", regex="("), "kwargs.regex"),
    (check("expect_column_quantile_values_to_be_between", column="a", quantile_ranges={"quantiles": [2], "value_ranges": [[0, 1]]}),
     "0 to 1"),
    (check("expect_column_quantile_values_to_be_between", column="a", quantile_ranges={"quantiles": [0.5]}), "of one length"),
    ({**GOOD, "meta": ["x"]}, ".meta"), ({**GOOD, "max_value": 2}, "belongs into kwargs"), ({**GOOD, "severty": "warning"}, "severity")])
def test_values_that_bound_nothing_are_refused(expectation: Any, told: str) -> None:
    assert told in mistakes(expectation)


@pytest.mark.parametrize(("own", "told"), [({"columns": {"a": "float"}}, "meta.nightgate.columns"), ({"quarantine": 1}, "quarantine"), (7, "no object")])
def test_a_suites_own_meta_is_read_strictly(own: Any, told: str) -> None:
    assert told in mistakes(GOOD, meta={"nightgate": own})


def test_a_set_of_a_million_values_belongs_into_a_file() -> None:
    rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "x", "value_set": [*range(1_000_000)]}}
    with pytest.raises(SuiteError, match=r"1,000,000 values; at most 100,000 stand in a suite, more in a file"):
        parse_suite({"name": "s", "expectations": [rule], "meta": {}}, place="s")


def test_a_suite_of_any_version_is_given_in_the_current_form(tmp_path: Path) -> None:
    old = {"expectation_suite_name": "s", "expectations": [{"expectation_type": "expect_column_to_exist", "kwargs": {"column": "x"}, "meta": None}]}
    (tmp_path / "raw.json").write_text(json.dumps(old))

    found = current_form(read_suite(tmp_path / "raw.json"))

    assert found == {"name": "s", "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "x"}, "meta": {}}], "meta": {}}
