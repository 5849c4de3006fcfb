"""CSV files are read as pandas reads them, and nothing of them is lost."""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightgate.contracts.families import family
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.opening import opened
from nightgate.contracts.suites import parse_suite, read_suite
from nightgate.contracts.textfiles import MISSING
from nightgate.errors import DataUnusable

ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
CELLS = st.sampled_from(["", "1", "2", "-3", "007", "+5", " 4", "1.5", "1e3", "inf", "True", "false", "t", "x", "#a", "#5", "NA", "n/a", "<NA>",
                         "#N/A", "-nan", "2026-01-05", "01/02/2024", "08:30", "a,b", 'say "so"', "é", "12345678901", "[1]", "1_0", "0x1F"])


def expect(name: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{name}", "kwargs": kwargs}


def gated(path: Path, text: str, *expectations: dict[str, Any], **options: Any) -> GateResult:
    path.write_bytes(text.encode())
    suite = path.parent / "suite.json"
    suite.write_text(json.dumps({"name": "s", "expectations": [*expectations], "meta": {}}))
    return check(read_suite(suite), path, boundary="raw", **options)


def test_a_row_that_begins_like_a_comment_is_a_row(tmp_path: Path) -> None:
    result = gated(tmp_path / "data.csv", "x,y\n1,2\n#,9\n4,5\n", expect("column_values_to_be_between", column="y", max_value=8))

    assert (result.success, result.rows, result.results[0].unexpected) == (False, 3, 1)


@pytest.mark.parametrize(("name", "other"), [("data[1].csv", "data1.csv"), ("p[1].parquet", "p1.parquet"), ("x*.csv", "x1.csv"),
                                            ("x?.parquet", "x1.parquet")])
def test_the_file_that_was_named_is_read(name: str, other: str, tmp_path: Path) -> None:
    for each, value in ((name, 999), (other, 1)):
        frame, path = pd.DataFrame({"y": [value]}), tmp_path / each
        _ = frame.to_csv(path, index=False) if each.endswith("csv") else frame.to_parquet(path)
    suite = parse_suite({"name": "s", "expectations": [expect("column_values_to_be_between", column="y", max_value=8)], "meta": {}}, place="s")

    assert not check(suite, tmp_path / name, boundary="raw").success


def test_the_other_file_that_was_named_is_read(tmp_path: Path) -> None:
    for name, city in (("ref[1].csv", "Bern"), ("ref1.csv", "Genf")):
        (tmp_path / name).write_text(f"name\n{city}\n")

    result = gated(tmp_path / "data.csv", "city\nGenf\n",
                   expect("column_values_to_be_in_set", column="city", value_set={"$PARAMETER": "file('ref[1].csv', 'name')"}))

    assert not result.success


@pytest.mark.parametrize("text", ["X1,999\nid,name,y\n1,a,2\n", "id,y\n1,2\n3\n", "id,y\n1,2\n3,4,5\n"])
def test_rows_of_another_length_are_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match="with another number of values"):
        gated(tmp_path / "data.csv", text, ROWS)


def test_lines_may_end_in_two_ways(tmp_path: Path) -> None:
    assert gated(tmp_path / "data.csv", "id,y\r\n1,2\n3,4\r\n", ROWS).rows == 2


def test_every_spelling_of_missing_is_missing(tmp_path: Path) -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    result = gated(tmp_path / "data.csv", "id,x\n" + "".join(f"1,{each}\n" for each in MISSING),
                   expect("column_values_to_be_null", column="x"))

    assert set(MISSING) == STR_NA_VALUES
    assert result.success


@pytest.mark.parametrize(("expectation", "holds"), [
    (expect("column_value_lengths_to_equal", column="d", value=10), True),
    (expect("column_values_to_match_strftime_format", column="d", strftime_format="%Y-%m-%d"), True),
    (expect("column_values_to_be_dateutil_parseable", column="d"), True),
    (expect("column_values_to_be_of_type", column="d", type_="str"), True),
    (expect("column_values_to_be_in_set", column="d", value_set=["2026-01-05", "2026-01-06"]), True),
    (expect("column_values_to_be_in_set", column="e", value_set=["01/02/2024", "03/02/2024"]), True),
    (expect("column_values_to_be_in_set", column="h", value_set=["08:30", "09:00"]), True),
    (expect("column_values_to_be_in_set", column="t", value_set=["t", "f"]), True),
    (expect("column_values_to_be_in_set", column="z", value_set=[7, 8]), True),
    (expect("column_values_to_be_of_type", column="n", type_="float64"), True),
    (expect("column_values_to_be_of_type", column="n", type_="int64"), False),
    (expect("column_max_to_be_between", column="d", min_value={"$PARAMETER": "now() - timedelta(days=2)"}), True),
    (expect("column_max_to_be_between", column="d", min_value={"$PARAMETER": "now() + timedelta(days=2)"}), False),
    (expect("column_max_to_be_between", column="e", min_value={"$PARAMETER": "now() - timedelta(days=2)"}), False),
    (expect("column_values_to_be_in_set", column="d", value_set={"$PARAMETER": "file('other.csv', 'd')"}), True),
    (expect("column_values_to_be_in_set", column="t", value_set={"$PARAMETER": "file('other.csv', 't')"}), True),
    (expect("column_values_to_be_in_set", column="z", value_set={"$PARAMETER": "file('other.csv', 'z')"}), True),
    (expect("column_values_to_be_in_set", column="z", value_set={"$PARAMETER": "file('other.csv', 't')"}), False)])
def test_a_suite_made_on_what_pandas_read_keeps_its_meaning(expectation: dict[str, Any], holds: bool, tmp_path: Path) -> None:
    text = "d,e,h,t,z,n\n2026-01-05,01/02/2024,08:30,t,007,1\n2026-01-06,03/02/2024,09:00,f,008,\n"
    (tmp_path / "other.csv").write_text(text)

    assert gated(tmp_path / "data.csv", text, expectation, now=datetime(2026, 1, 7)).success is holds


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=6)))
def test_drawn_files_hold_what_pandas_reads(rows: list[list[str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        pd.DataFrame([["k", *row] for row in rows], columns=["key", *(f"c{number}" for number in range(len(rows[0])))]).to_csv(path, index=False)
        frame = pd.read_csv(path)
        with opened(path) as data:
            ours = data.connection.sql("SELECT * FROM data").to_arrow_table().to_pylist()
            types = data.types

    assert [*types] == [*frame.columns]
    for name in frame:
        values, theirs = [row[name] for row in ours], [None if pd.isna(value) else value for value in frame[name].tolist()]
        assert values == theirs, name
        if not any(isinstance(value, bool) for value in values):  # with a missing one pandas calls a column of truths text
            assert family(types[name]) == family(str(frame[name].dtype)), name
