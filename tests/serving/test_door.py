"""The door and the gate: rule by rule they say the same of the same rows; values are typed at the door as they are in training."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.contracts.gate import check
from nightgate.contracts.suites import parse_suite
from nightgate.serving.door import Door, RefusedError
from nightgate.serving.rules import rules_of
from nightgate.sources.types import ARROW, Reading, fitted, misfits, tidy

RAW = {"number": "number", "whole": "integer", "flag": "boolean", "word": "text", "other": "number", "day": "date"}
ROWS: list[dict[str, Any]] = [
    {"number": 1.5, "whole": 3, "flag": True, "word": "abc", "other": 1.5, "day": "2026-01-02T03:04:05"},
    {"number": -7.25, "whole": -3, "flag": False, "word": "a\nb", "other": 2.0, "day": "1999-12-31"},
    {"number": 10.0, "whole": 10, "flag": None, "word": "Äé", "other": None, "day": "2030-06-01"},
    {"number": None, "whole": None, "flag": None, "word": None, "other": None, "day": None},
    {"number": None, "whole": 100, "flag": True, "word": "x1", "other": 0.0, "day": "2026-01-02"},
    {"number": 0.0, "whole": 0, "flag": False, "word": "ab%", "other": -0.0, "day": "2026-01-01"},
    {"number": 1e15, "whole": 2**53, "flag": True, "word": "long enough to be long", "other": 1e15, "day": "9999-01-01"}]


def rule(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": arguments}


RULES = [
    rule("expect_column_values_to_not_be_null", column="number"), rule("expect_column_values_to_not_be_null", column="word"),
    rule("expect_column_values_to_be_null", column="other"), rule("expect_column_values_to_be_between", column="number", min_value=0, max_value=10),
    rule("expect_column_values_to_be_between", column="number", min_value=0, strict_min=True),
    rule("expect_column_values_to_be_between", column="whole", max_value=10, strict_max=True),
    rule("expect_column_values_to_be_between", column="word", min_value="b"),
    rule("expect_column_values_to_be_between", column="day", min_value="2026-01-02", max_value="2030-06-01"),
    rule("expect_column_values_to_be_between", column="flag", min_value=1),
    rule("expect_column_values_to_be_in_set", column="word", value_set=["abc", "Äé"]), rule("expect_column_values_to_be_in_set", column="whole", value_set=[3, 10.0]),
    rule("expect_column_values_to_be_in_set", column="number", value_set=[1.5, 10, "x"]), rule("expect_column_values_to_be_in_set", column="flag", value_set=[True]),
    rule("expect_column_values_to_be_in_set", column="day", value_set=["2026-01-02", "1999-12-31T00:00:00"]),
    rule("expect_column_distinct_values_to_be_in_set", column="word", value_set=["abc"]),
    rule("expect_column_values_to_not_be_in_set", column="word", value_set=["abc"]), rule("expect_column_values_to_not_be_in_set", column="whole", value_set=[0, 3]),
    rule("expect_column_value_lengths_to_be_between", column="word", min_value=2, max_value=3),
    rule("expect_column_value_lengths_to_be_between", column="word", max_value=3, strict_max=True),
    rule("expect_column_value_lengths_to_equal", column="word", value=2),
    rule("expect_column_values_to_match_regex", column="word", regex="^a.b$"), rule("expect_column_values_to_match_regex", column="word", regex=r"^[a-z]+\d?$"),
    rule("expect_column_values_to_match_regex", column="word", regex=r"\w\Z"), rule("expect_column_values_to_match_regex", column="whole", regex=r"^\d+$"),
    rule("expect_column_values_to_not_match_regex", column="word", regex=r"\s"), rule("expect_column_values_to_match_regex", column="word", regex=r"^a(?=b)"),
    rule("expect_column_values_to_match_regex_list", column="word", regex_list=["^a", "c$"], match_on="all"),
    rule("expect_column_values_to_not_match_regex_list", column="word", regex_list=["^x", "%"]),
    rule("expect_column_values_to_match_like_pattern", column="word", like_pattern="a%"),
    rule("expect_column_values_to_match_like_pattern", column="word", like_pattern="a_b"),
    rule("expect_column_values_to_not_match_like_pattern", column="word", like_pattern="%b%"),
    rule("expect_column_values_to_match_like_pattern_list", column="word", like_pattern_list=["a%", "x_"]),
    rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="number", column_B="other"),
    rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="number", column_B="other", or_equal=True, ignore_row_if="either_value_is_missing"),
    rule("expect_column_pair_values_to_be_equal", column_A="number", column_B="other"),
    rule("expect_column_pair_values_to_be_equal", column_A="number", column_B="other", ignore_row_if="never"),
    rule("expect_column_pair_values_to_be_in_set", column_A="whole", column_B="word", value_pairs_set=[[3, "abc"], [10, "Äé"]]),
    rule("expect_multicolumn_sum_to_equal", column_list=["number", "other"], sum_total=3),
    rule("expect_multicolumn_values_to_be_equal", column_list=["number", "other"]),
    rule("expect_select_column_values_to_be_unique_within_record", column_list=["number", "other"])]


def door_of(rules: list[dict[str, Any]], **options: Any) -> tuple[Door, list[dict[str, str]]]:
    found = rules_of(parse_suite({"name": "raw", "expectations": rules}, place="raw"), RAW, frozenset())
    kept = json.loads(json.dumps(found.kept))
    return Door(RAW, rules=kept, missing=["", *options.get("missing", ())], mask=(), zone=options.get("zone", "UTC"), key=b""), found.left


@pytest.mark.parametrize("each", RULES, ids=lambda each: f"{each['type'].removeprefix('expect_')} {[*each['kwargs'].values()]}")
def test_door_and_gate_agree_on_every_row(each: dict[str, Any], tmp_path: Path) -> None:
    door, left = door_of([each])
    suite = parse_suite({"name": "raw", "expectations": [each]}, place="raw")
    assert not left

    for number, row in enumerate(ROWS):
        table = pa.table({name: pa.array([datetime.fromisoformat(row[name]) if kind == "date" and row[name] else row[name]], ARROW[kind])  # type: ignore[index]
                          for name, kind in RAW.items()})
        pq.write_table(table, tmp_path / f"{number}.parquet")
        found = check(suite, tmp_path / f"{number}.parquet", boundary="raw").results[0]
        gate = found.success or found.error == "not evaluated"  # a missing value is no business of most rules
        assert _lets_in(door, row) == gate == _lets_in(door, row, slowly=True), (row, found)


def _lets_in(door: Door, row: dict[str, Any], *, slowly: bool = False) -> bool:
    try:
        door.checked([row]) if slowly else door.rows(json.dumps(row, ensure_ascii=False).encode())
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(("each", "why"), [
    (rule("expect_column_values_to_not_be_null", column="number", mostly=0.9), "share"), (rule("expect_column_mean_to_be_between", column="number", min_value=0), "many rows"),
    (rule("expect_column_values_to_be_unique", column="whole"), "many rows"), (rule("expect_table_column_count_to_equal", value=7), "fields"),
    (rule("expect_column_values_to_not_be_null", column="target"), "no `target`"), (rule("expect_column_values_to_not_be_null", column="number") | {"severity": "warning"}, "warns"),
    (rule("expect_column_values_to_be_between", column="day", min_value={"$PARAMETER": "now() - timedelta(days=7)"}), "night"),
    (rule("expect_column_values_to_not_be_null", column="number", row_condition="whole > 1", condition_parser="great_expectations"), "condition"),
    (rule("expect_column_values_to_match_regex", column="word", regex="[[:alpha:]]"), "Python"),
    (rule("expect_column_values_to_be_between", column="word", min_value=3), "bound"),
    (rule("unexpected_rows_expectation", unexpected_rows_query="SELECT * FROM {batch} WHERE `whole` > 3"), "no form")])
def test_a_rule_that_makes_no_sense_for_one_row_is_listed_with_the_reason(each: dict[str, Any], why: str) -> None:
    door, left = door_of([each])

    assert not door.rules and len(left) == 1 and why in left[0]["why"]


VALUES = {"number": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans(), st.text(max_size=3)),
          "whole": st.one_of(st.none(), st.integers(-2**65, 2**65), st.floats(allow_nan=False), st.booleans()), "flag": st.one_of(st.none(), st.booleans(), st.integers(0, 1)),
          "word": st.one_of(st.none(), st.text(max_size=8), st.sampled_from([" a ", "?", "", "\u00a0", "a:b", '"', "\\"])),
          "other": st.one_of(st.none(), st.floats(-1e3, 1e3)),
          "day": st.one_of(st.none(), st.text(max_size=12), st.datetimes().map(datetime.isoformat),
                           st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(ZoneInfo("Asia/Tokyo"))).map(datetime.isoformat),
                           st.sampled_from(["2026-02-30", "2026-01-01T24:00", "2026-01-01 10:00Z", "2026-01-01T10:00:00.123456789+02", " 2026-01-01 "]))}


@given(st.fixed_dictionaries(VALUES), st.booleans())
def test_the_fast_reading_and_the_slow_one_say_the_same(row: dict[str, Any], many: bool) -> None:
    door, _ = door_of(RULES[:6], missing=["?"], zone="Europe/Berlin")
    body = json.dumps({"rows": [row, row]} if many else row).encode()

    def said(read: Any) -> Any:
        try:
            return read()
        except RefusedError as refused:
            return refused.mistakes

    assert said(lambda: door.rows(body)) == said(lambda: door.checked([row] * (1 + many)))


@given(st.lists(st.one_of(VALUES["word"], VALUES["day"].filter(lambda text: text is None or (len(text) < 26 and "." not in text))), min_size=1, max_size=5),
       st.sampled_from(["text", "date"]))
def test_texts_and_dates_become_what_they_become_in_training(values: list[str | None], kind: str) -> None:
    reading = Reading(".", ("?",), ZoneInfo("Europe/Berlin"))
    door = Door(RAW, rules=[], missing=["", "?"], mask=(), zone="Europe/Berlin", key=b"")
    values = [None if value is None else value.encode("utf-8", "replace").decode() for value in values]
    array = tidy(pa.table({"x": pa.array(values, pa.string())}), reading)["x"].combine_chunks()
    made = fitted(array, kind, reading)  # type: ignore[arg-type] # one of the two
    lost = misfits(array, made, kind).to_pylist()  # type: ignore[arg-type]

    for place, value in enumerate(values):
        row = {**dict.fromkeys(RAW), "word" if kind == "text" else "day": value}
        if place in lost:
            with pytest.raises(RefusedError):
                door.checked([row])
        else:
            assert door.checked([row])[0][3 if kind == "text" else 5] == made[place].as_py()


def test_masked_columns_are_tokens_as_in_training_and_are_never_echoed() -> None:
    from nightgate.privacy import tokens

    found = rules_of(parse_suite({"name": "raw", "expectations": [rule("expect_column_values_to_be_in_set", column="word", value_set=["x" * 32])]}, place="raw"),
                     RAW, frozenset({"word"}))
    door = Door(RAW, rules=found.kept, missing=[""], mask=["word"], zone="UTC", key=b"key")
    open_door = Door(RAW, rules=[], missing=[""], mask=["word"], zone="UTC", key=b"key")
    row = {**ROWS[0], "word": " secret "}

    assert open_door.rows(json.dumps(row).encode())[0][3] == tokens(["secret"], b"key")[0]
    with pytest.raises(RefusedError) as refused:
        door.rows(json.dumps(row).encode())
    assert "secret" not in str(refused.value.mistakes) and "xxx" not in str(refused.value.mistakes)


@pytest.mark.parametrize(("raw", "keys", "row"), [({"rows": "number"}, {}, {"rows": 3}), ({"rows": "number", "other": "number"}, {}, {"rows": 3, "other": 1}),
                                                  ({"other": "number"}, {"rows": "text"}, {"rows": "k1", "other": 1})])
def test_a_column_or_entity_may_be_called_rows(raw: dict[str, str], keys: dict[str, str], row: dict[str, Any]) -> None:
    """A list is many rows, and anything else a value."""
    door = Door(raw, rules=[], missing=[""], mask=(), zone="UTC", key=b"", keys=keys)
    one = tuple(float(row[name]) for name in raw)

    assert door.rows(json.dumps(row).encode()) == [one]
    assert door.rows(json.dumps({"rows": [row, row]}).encode()) == [one, one]


def test_nan_spelt_as_text_is_missing_in_a_column_of_numbers_wherever_it_is_read() -> None:
    reading = Reading(".", (), ZoneInfo("UTC"))
    array = tidy(pa.Table.from_pandas(pd.DataFrame({"x": ["1", "NaN", "nan", "two"]})), reading)["x"].combine_chunks()

    assert misfits(array, fitted(array, "number", reading), "number").to_pylist() == [3]
