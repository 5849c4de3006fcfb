"""`nightgate gate`: any suite, any file, no project."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.commands import said, shown


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with a suite, a file that keeps it and one that does not; it is no project."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"customer": ["a", "b", "c", "d"], "income": [1.0, 2.0, 3.0, None]})
    frame.fillna(4.0).to_csv("good.csv", index=False)
    frame.assign(income=[1.0, 20.0, 30.0, None]).to_parquet("bad.parquet")
    write([("expect_column_values_to_be_between", {"column": "income", "max_value": 10}),
           ("expect_column_values_to_not_be_null", {"column": "customer"})])
    return tmp_path


def write(checks: list[tuple[str, dict[str, Any]]], **meta: Any) -> None:
    Path("suite.json").write_text(json.dumps({"name": "s", "meta": {"nightgate": meta},
                                              "expectations": [{"type": kind, "kwargs": arguments} for kind, arguments in checks]}))


def test_every_file_is_checked_and_the_worst_code_answers(capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "gate", "suite.json", "bad.parquet", "good.csv", "--id", "customer")

    bad, good = value["files"]
    assert code == 3 and (bad["success"], good["success"]) == (False, True)
    assert {"data": "bad.parquet", "checks": 2, "failed": 1, "errored": 0, "rows": 4, "quarantined": 0}.items() <= bad.items()
    assert {"type": "expect_column_values_to_be_between", "column": "income", "success": False, "unexpected_count": 2, "share": 2 / 3,
            "examples": [20.0, 30.0], "ids": ["b", "c"]}.items() <= bad["results"][0].items()


def test_people_read_causes_with_the_rows_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, "gate", "suite.json", "bad.parquet", "--id", "customer")

    assert "`income` is at most 10" in told and "20 in row b" in told and "deployed" not in told
    assert "good.csv passed" in shown(capsys, "gate", "suite.json", "good.csv")


def test_rows_are_set_aside_within_the_share_that_the_suite_allows(capsys: pytest.CaptureFixture[str]) -> None:
    write([("expect_column_values_to_be_between", {"column": "income", "max_value": 20})], quarantine=0.3)

    code, value = said(capsys, "gate", "suite.json", "bad.parquet", "--quarantine", "aside")

    aside = pd.read_parquet("aside/bad.parquet/quarantined.parquet")
    assert code == 0 and value["files"][0]["quarantined"] == len(aside) == 1
    assert len(pd.read_parquet(value["files"][0]["kept"])) == 3
    assert [*aside["nightgate_reasons"][0]] == ["`income` is at most 20"]


@pytest.mark.parametrize(("words", "code", "kind"), [
    (("none.json", "good.csv"), 2, "FileMissing"), (("good.csv", "good.csv"), 2, "SuiteError"),
    (("suite.json", "a/x.csv", "b/x.csv", "--quarantine", "aside"), 2, "UsageError")])
def test_what_cannot_be_understood_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, kind: str) -> None:
    found, value = said(capsys, "gate", *words)

    assert (found, value["error"]["kind"]) == (code, kind)


@pytest.mark.parametrize(("words", "code", "kind"), [
    (("none.csv",), 3, "FileMissing"), (("broken.parquet",), 3, "DataUnusable"), (("good.csv", "--id", "nobody"), 2, "UsageError")])
def test_a_file_that_cannot_be_checked_stops_no_other(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int,
                                                      kind: str) -> None:
    Path("broken.parquet").write_bytes(Path("bad.parquet").read_bytes()[:200])

    found, value = said(capsys, "gate", "suite.json", words[0], "bad.parquet", *words[1:])

    assert found == code and value["files"][0]["error"]["kind"] == kind
    assert len(value["files"]) == 2


def test_a_file_alone_is_told_no_definition(capsys: pytest.CaptureFixture[str]) -> None:
    Path("torn.csv").write_text("customer,income\na,1\nb,2,3\n")
    Path("wide.csv").write_bytes("customer,income\nä,1\n".encode("cp1252"))

    told = shown(capsys, "gate", "suite.json", "torn.csv", "wide.csv")

    assert "torn.csv: 1 row with another number of values" in told and "UTF-8" in told and "[source]" not in told


def test_columns_of_a_csv_file_are_named_as_pandas_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.csv").write_text("a,a,,b\n1,2,3,x\n")
    write([("expect_table_columns_to_match_ordered_list", {"column_list": [*pd.read_csv("odd.csv").columns]})])

    assert said(capsys, "gate", "suite.json", "odd.csv")[0] == 0
