"""A suite on a CSV file says what Great Expectations says of the same suite and what pandas reads from the file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from nightgate.contracts.gate import check
from nightgate.contracts.great import great_expectations
from nightgate.contracts.suites import parse_suite

COLUMNS = {"n": ["1", "2", "-3", "007", "1.5", "", "NA"], "t": ["a", "b", "Zürich", "#1", "", "n/a", "x y"], "d": ["2026-01-05", "2026-02-01", ""],
           "m": ["1", "x", "True", "", "08:30"], "b": ["True", "False"], "i": ["1", "2", "3"]}
FILES = st.lists(st.tuples(*map(st.sampled_from, COLUMNS.values())), min_size=1, max_size=8)
COLUMN = st.sampled_from([*COLUMNS])
SHARE = st.sampled_from([{}, {"mostly": 0.5}, {"mostly": 0.8}])
SETS = st.lists(st.sampled_from([1, 2, 7, 1.5, "1", "a", "Zürich", "2026-01-05", "True", "#1", True]), min_size=1, max_size=4, unique_by=repr)


def of_rows(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda column, share, drawn: {"type": f"expect_column_{name}", "kwargs": {"column": column, **drawn, **share}},
                     COLUMN, SHARE, st.fixed_dictionaries(arguments))


def of_column(name: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda column, drawn: {"type": f"expect_column_{name}", "kwargs": {"column": column, **drawn}}, COLUMN,
                     st.fixed_dictionaries(arguments))


RULES = st.one_of(
    of_rows("values_to_not_be_null"), of_rows("values_to_be_null"), of_rows("values_to_be_unique"), of_rows("values_to_be_in_set", value_set=SETS),
    of_rows("values_to_not_be_in_set", value_set=SETS), of_rows("value_lengths_to_be_between", min_value=st.just(1), max_value=st.integers(1, 10)),
    of_rows("values_to_match_regex", regex=st.sampled_from([r"^\w+$", r"^\d+$", r"^[a-z]", r"\bx\b", r"\.0$"])),
    of_rows("values_to_match_strftime_format", strftime_format=st.just("%Y-%m-%d")), of_rows("values_to_be_dateutil_parseable"),
    of_rows("values_to_be_between", min_value=st.sampled_from([-1, 0, 1.5])), of_column("min_to_be_between", min_value=st.sampled_from([0, 1])),
    of_column("mean_to_be_between", max_value=st.sampled_from([1, 2])), of_column("sum_to_be_between", max_value=st.sampled_from([1, 5])),
    of_column("unique_value_count_to_be_between", min_value=st.integers(1, 3)),
    of_column("values_to_be_of_type", type_=st.sampled_from(["int64", "float64", "bool", "str"])))


def library_says(expectation: dict[str, Any], frame: pd.DataFrame) -> bool | None:
    """Return the library's verdict, None where it has none."""
    gx = great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.pandas_default.read_dataframe(frame)
    try:
        result = batch.validate(get_expectation_impl(expectation["type"])(**expectation["kwargs"]))
    except Exception:  # whatever it raises, it has no verdict
        return None
    raised = [each for each in [result.exception_info, *result.exception_info.values()] if isinstance(each, dict) and each.get("raised_exception")]
    return None if raised else bool(result.success)


@settings(max_examples=120, deadline=None)
@given(FILES, RULES)
def test_a_drawn_rule_on_a_drawn_file(rows: list[tuple[str, ...]], expectation: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        pd.DataFrame(rows, columns=[*COLUMNS]).to_csv(path, index=False)
        frame = pd.read_csv(path)
        ours = check(parse_suite({"name": "s", "expectations": [expectation], "meta": {}}, place="s"), path, boundary="raw").results[0]
    theirs = library_says(expectation, frame)

    if theirs is None or ours.error in ("not evaluated", "wrong type"):  # what it passes on no value, or casts, the gate does not
        assert theirs is None or not ours.success
    else:
        assert ours.success == theirs, (ours, frame.dtypes)
