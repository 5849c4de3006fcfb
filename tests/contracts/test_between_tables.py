"""Rules between columns and tables: keys into another file, totals, what one column determines, freshness."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nightgate.contracts.freshness import freshness
from nightgate.contracts.gate import GateResult, check
from nightgate.contracts.limits import Limits
from nightgate.contracts.suites import parse_suite, read_suite
from nightgate.contracts.tables import determined, sums
from nightgate.contracts.writing import as_text
from nightgate.datasets import Column
from nightgate.errors import FileMissing, SuiteError
from tests.projects import people, project, rules

ROWS = 1_000


def gated(folder: Path, frame: pd.DataFrame, *expectations: dict[str, Any], now: datetime | None = None) -> GateResult:
    frame.to_parquet(folder / "data.parquet", index=False)
    (folder / "suite.json").write_text(as_text({"name": "s", "expectations": [*expectations], "meta": {}}))
    return check(read_suite(folder / "suite.json"), folder / "data.parquet", boundary="raw", now=now)


def into(file: str, column: str = "name", **more: Any) -> dict[str, Any]:
    return {"type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "city", "value_set": {"$PARAMETER": f"file('{file}', '{column}')"}, **more}}


@pytest.mark.parametrize("file", ["reference/cities.csv", "reference/cities.parquet"])
def test_a_key_must_be_in_the_other_file(file: str, tmp_path: Path) -> None:
    (tmp_path / "reference").mkdir()
    cities = pd.DataFrame({"name": ["Bern", "Chur", None]})
    cities.to_csv(tmp_path / "reference/cities.csv", index=False)
    cities.to_parquet(tmp_path / "reference/cities.parquet", index=False)

    good = gated(tmp_path, pd.DataFrame({"city": ["Bern", "Chur", None]}), into(file))
    bad = gated(tmp_path, pd.DataFrame({"city": ["Bern", "Genf", "Bern", None]}), into(file))

    assert good.success
    assert not bad.success and bad.results[0].unexpected == 1 and bad.results[0].examples == ("Genf",)
    assert bad.results[0].sentence == f"`city` is one of the values of `name` in {Path(file).name}"


def test_rows_without_a_key_in_the_other_file_are_set_aside(tmp_path: Path) -> None:
    pd.DataFrame({"name": ["Bern", "Chur"]}).to_csv(tmp_path / "cities.csv", index=False)
    frame = pd.DataFrame({"city": ["Bern", "Genf", "Chur", "Bern"]})
    frame.to_parquet(tmp_path / "data.parquet", index=False)
    suite = {"name": "s", "expectations": [into("cities.csv")], "meta": {"nightgate": {"quarantine": 0.5}}}
    (tmp_path / "suite.json").write_text(as_text(suite))

    result = check(read_suite(tmp_path / "suite.json"), tmp_path / "data.parquet", boundary="raw", quarantine_to=tmp_path / "aside")

    assert result.success and result.quarantined == 1
    assert pd.read_parquet(tmp_path / "aside" / "quarantined.parquet")["city"].to_list() == ["Genf"]


def test_another_file_that_is_not_there_stops_the_gate(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"cities\.csv"):
        gated(tmp_path, pd.DataFrame({"city": ["Bern"]}), into("cities.csv"))


def test_another_file_without_the_column_is_an_error_not_a_pass(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text("place\nBern\n")
    result = gated(tmp_path, pd.DataFrame({"city": ["Bern"]}), into("cities.csv"))
    assert not result.success and result.errored == 1


@pytest.mark.parametrize("value", ["file('/etc/passwd.csv', 'name')", "file('cities.exe', 'name')", "open('cities.csv')"])
def test_only_files_of_rows_beside_the_suite_are_read(value: str) -> None:
    rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "city", "value_set": {"$PARAMETER": value}}}
    with pytest.raises(SuiteError, match="value_set"):
        parse_suite({"name": "s", "expectations": [rule], "meta": {}}, place="s")


def amounts() -> pd.DataFrame:
    random = np.random.default_rng(0)
    net, tax, off = random.gamma(2, 50, ROWS).round(2), random.gamma(2, 5, ROWS).round(2), random.gamma(2, 2, ROWS).round(2)
    return pd.DataFrame({"net": net, "tax": tax, "off": off, "total": (net + tax - off).round(2), "age": random.normal(40, 9, ROWS)})


def test_a_total_is_found_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    frame = amounts()
    rules = [*sums(pa.Table.from_pandas(frame), [Column(name, "number") for name in frame])]
    wrong = frame.copy()
    wrong.loc[:9, "tax"] += 1

    assert len(rules) == 1 and "= " in rules[0]["notes"]
    assert gated(tmp_path, frame, *rules).success
    assert gated(tmp_path, wrong, *rules).results[0].unexpected == 10


def test_a_total_with_one_exception_is_no_rule() -> None:
    frame = amounts()
    frame.loc[5, "total"] += 1
    assert [*sums(pa.Table.from_pandas(frame), [Column(name, "number") for name in frame])] == []


def test_what_determines_another_column_is_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    city = random.choice(["Bern", "Chur", "Genf", "Nyon"], ROWS)
    frame = pd.DataFrame({"city": city, "language": np.where(np.isin(city, ["Genf", "Nyon"]), "fr", "de"), "sex": random.choice(["f", "m"], ROWS)})
    rules = [*determined(pa.Table.from_pandas(frame), [Column(name, "text") for name in frame], Limits(1e-5))]

    assert [(rule["kwargs"]["column_A"], rule["kwargs"]["column_B"]) for rule in rules] == [("city", "language")]
    assert gated(tmp_path, frame, *rules).success
    assert not gated(tmp_path, frame.assign(language="de"), *rules).success


def test_a_number_may_determine_a_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"code": [1, 2, 3] * 100, "name": ["one", "two", "three"] * 100})
    rules = [*determined(pa.Table.from_pandas(frame), [Column("code", "integer"), Column("name", "text")], Limits(1e-5))]
    broken = gated(tmp_path, frame.assign(name="one"), *rules)
    assert gated(tmp_path, frame, *rules).success
    assert not broken.success and broken.results[0].unexpected == 200
    assert broken.results[0].sentence.startswith("`code` and `name` are one of the pairs 1 one, 2 two, 3 three")


NIGHT, NIGHTLY = date(2026, 3, 1), 1 / 91
TIMES = [datetime(2026, 1, 1) + timedelta(hours=3 * number) for number in range(59 * 8)]


def test_a_stale_copy_is_stopped_and_fresh_data_are_not(tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": pd.array(TIMES, dtype="datetime64[us]")})
    rules = [*freshness("at", pa.chunked_array([pa.array(TIMES, pa.timestamp("us"))]), NIGHT, nightly=NIGHTLY)]

    assert gated(tmp_path, frame, *rules, now=datetime(2026, 3, 1)).success
    assert not gated(tmp_path, frame, *rules, now=datetime(2026, 3, 2)).success


def test_a_day_without_rows_that_came_once_in_years_does_not_hide_a_stale_copy(tmp_path: Path) -> None:
    days = [datetime(2024, 3, 1) + timedelta(days=number) for number in range(730) if number != 300]
    early = [datetime(1970, 1, 1), *days * 2]  # a clock was wrong once

    (rule,) = freshness("at", pa.chunked_array([pa.array(early, pa.timestamp("us"))]), NIGHT, nightly=NIGHTLY)

    assert rule["kwargs"]["min_value"] == {"$PARAMETER": "now() - timedelta(hours=31)"}


def test_of_an_archive_freshness_is_not_asked() -> None:
    assert [*freshness("at", pa.chunked_array([pa.array(TIMES, pa.timestamp("us"))]), date(2026, 6, 1), nightly=NIGHTLY)] == []


def test_the_order_of_a_total_and_its_parts_is_not_told_twice(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = people().assign(net=random.gamma(2, 50, 600).round(2), tax=random.gamma(2, 20, 600).round(2))
    place = project(tmp_path, frame.assign(total=(frame["net"] + frame["tax"]).round(2)))

    told = [rule for rule in rules(place) if "total" in str(rule["kwargs"])]

    assert [rule["type"] for rule in told if not {"column", "column_set", "column_list"} & rule["kwargs"].keys()] == ["unexpected_rows_expectation"]
    assert max(sum(rule["kwargs"].get("column") == name for rule in told) for name in frame) <= 3
