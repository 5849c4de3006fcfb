"""Both paths, one scan by DuckDB and Great Expectations on pandas, give the same verdict, counts and examples."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightgate.contracts.gate import CheckResult, check
from nightgate.contracts.great import evaluate
from nightgate.contracts.opening import opened
from nightgate.contracts.suites import Check, parse_suite, read_suite

TITANIC = Path(__file__).resolve().parents[3] / "shared/data/gx_titanic"
NUMBERS = st.one_of(st.none(), st.sampled_from([-2.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.5, 1e6]))
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "ab", "Bern", "é", "", " ", "a\n", "7"]))
DATES = st.one_of(st.none(), st.sampled_from([datetime(2026, 1, day) for day in (1, 2, 9)]))
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, DATES, st.integers(-3, 3)), min_size=1, max_size=12)
BOUNDS = st.sampled_from([-1.0, 0.0, 1.0, 2.0])
SHARE = st.sampled_from([{}, {"mostly": 0.5}, {"mostly": 0.8}])


def pair(low: float, high: float) -> dict[str, float]:
    return {"min_value": min(low, high), "max_value": max(low, high)}


def rules() -> st.SearchStrategy[dict[str, Any]]:
    """Return expectations with arguments that are drawn."""
    column = st.sampled_from(["x", "y", "i"])
    values = st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=3, unique=True)
    texts = st.lists(st.sampled_from(["a", "b", "Bern", "é"]), min_size=1, max_size=3, unique=True)
    figures = [f"expect_column_{name}_to_be_between" for name in ("min", "max", "mean", "median", "stdev", "sum")]
    many = [
        st.builds(lambda c, a, b, m: ("expect_column_values_to_be_between", {"column": c, **pair(a, b), **m}), column, BOUNDS, BOUNDS, SHARE),
        st.builds(lambda c, a, s: ("expect_column_values_to_be_between", {"column": c, "min_value": a, "strict_min": s}), column, BOUNDS, st.booleans()),
        st.builds(lambda c, v, m: ("expect_column_values_to_be_in_set", {"column": c, "value_set": v, **m}), column, values, SHARE),
        st.builds(lambda v, m: ("expect_column_values_to_not_be_in_set", {"column": "t", "value_set": v, **m}), texts, SHARE),
        st.builds(lambda v, m: ("expect_column_values_to_be_in_set", {"column": "t", "value_set": v, **m}), texts, SHARE),
        st.builds(lambda c, m: ("expect_column_values_to_not_be_null", {"column": c, **m}), st.sampled_from(["x", "t", "d", "i"]), SHARE),
        st.builds(lambda c, m: ("expect_column_values_to_be_null", {"column": c, **m}), st.sampled_from(["x", "t", "d"]), SHARE),
        st.builds(lambda c, m: ("expect_column_values_to_be_unique", {"column": c, **m}), st.sampled_from(["x", "t", "i"]), SHARE),
        st.builds(lambda r, m: ("expect_column_values_to_match_regex", {"column": "t", "regex": r, **m}),
                  st.sampled_from(["a", "^a", "b$", "^[a-z]+$", r"^\d$", "."]), SHARE),
        st.builds(lambda r, m: ("expect_column_values_to_not_match_regex", {"column": "t", "regex": r, **m}), st.sampled_from(["a", "^B"]), SHARE),
        st.builds(lambda a, b, m: ("expect_column_value_lengths_to_be_between", {"column": "t", **pair(int(a), int(b)), **m}), BOUNDS, BOUNDS, SHARE),
        st.builds(lambda k, c, a, b: (k, {"column": c, **pair(a, b)}), st.sampled_from(figures), column, BOUNDS, BOUNDS),
        st.builds(lambda c, a, b: ("expect_column_unique_value_count_to_be_between", {"column": c, **pair(int(a), int(b))}),
                  st.sampled_from(["x", "t", "i"]), BOUNDS, BOUNDS),
        st.builds(lambda v: ("expect_column_distinct_values_to_be_in_set", {"column": "t", "value_set": v}), texts),
        st.builds(lambda v: ("expect_column_distinct_values_to_contain_set", {"column": "t", "value_set": v}), texts),
        st.builds(lambda e, m: ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "x", "column_B": "y", "or_equal": e, **m,
                  "ignore_row_if": "either_value_is_missing"}), st.booleans(), SHARE),
        st.builds(lambda m: ("expect_compound_columns_to_be_unique", {"column_list": ["x", "t"], "ignore_row_if": "any_value_is_missing", **m}), SHARE),
        st.builds(lambda a, b: ("expect_table_row_count_to_be_between", pair(int(abs(a)), int(abs(b)) + 5)), BOUNDS, BOUNDS)]
    return st.one_of(many).map(lambda drawn: {"type": drawn[0], "kwargs": drawn[1]})


def frame_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["x", "y", "t", "d", "i"])
    return frame.astype({"x": "float64", "y": "float64", "t": "str", "d": "datetime64[us]", "i": "int64"})


def theirs(check: Check, path: Path) -> CheckResult:
    with opened(path) as data:
        return next(iter(evaluate([check], data, frozenset())))


def seen(result: CheckResult) -> set[str]:
    """Return the examples; of rows that are not alone with their value the gate shows each value once."""
    return set(map(str, result.examples))


@settings(max_examples=150)
@given(ROWS, rules())
def test_a_drawn_rule_on_drawn_rows(rows: list[tuple[Any, ...]], expectation: dict[str, Any]) -> None:
    suite = parse_suite({"name": "s", "expectations": [expectation], "meta": {}}, place="s")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.parquet"
        frame_of(rows).to_parquet(path, index=False)
        ours, other = check(suite, path, boundary="raw").results[0], theirs(suite.checks[0], path)
    assert (ours.success, ours.error) == (other.success, other.error)
    if "_distinct_" in ours.type:
        return  # the library counts values there, the gate the rows that hold them
    assert ours.unexpected == other.unexpected
    if other.examples and ours.examples:
        assert seen(ours) == seen(other) or ours.unexpected > 20


@pytest.mark.skipif(not TITANIC.exists(), reason="needs the shared data")
def test_a_suite_of_the_librarys_own_profiler() -> None:
    suite = read_suite(TITANIC / "suite_titanic_warning.json")
    ours = check(suite, TITANIC / "Titanic.csv", boundary="raw")
    assert ours.success and ours.checks == 49
    for one, mine in zip(suite.checks, ours.results, strict=True):
        other = theirs(one, TITANIC / "Titanic.csv")
        assert (mine.success, mine.unexpected) == (other.success, other.unexpected), one.place
