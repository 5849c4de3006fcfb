"""The command drift: of any files, and of a model."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightgate.cli.main import main
from nightgate.settings import Settings
from tests.projects import people, project, run_plainly


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | str | None, dict[str, object]]:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return ended.value.code, value


def dated(rows: int, seed: int, days: int) -> pd.DataFrame:
    return people(rows, seed).assign(day=pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows) * days // rows, "D"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    dated(12_000, 0, 30).to_parquet(tmp_path / "reference.parquet")
    dated(2_000, 1, 1).to_csv(tmp_path / "same.csv", index=False)
    dated(2_000, 2, 1).assign(income=lambda frame: frame["income"] + 3, city=lambda frame: frame["city"].replace("Chur", "Zug")).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "importance.json").write_text('{"income": 0.4, "age": 0.3, "city": 0.2}')
    (tmp_path / "importance.csv").write_text("column,importance\nincome,0.4\nage,0.3\n")
    return tmp_path


@pytest.mark.parametrize("importance", [(), ("--importance", "importance.json"), ("--importance", "importance.csv")])
def test_files_are_compared_without_a_project(files: Path, importance: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(files)

    code, value = said(capsys, "drift", "reference.parquet", "same.csv", "other.parquet", "--time", "day", *importance, "--html", "drift.html")

    assert code == 3
    same, other = value["files"]  # type: ignore[misc]
    assert (same["data"], same["alarm"], same["calibrated"], same["rows"]) == ("same.csv", 0, True, 2_000)
    assert {name for name, each in other["columns"].items() if each["verdict"] == "alarm"} == {"income", "city"}
    assert all({"distance", "limit", "verdict", "why"} == {*each} for each in other["columns"].values())
    page = (files / "drift.html").read_text()
    assert "income" in page and "<svg" in page and "Zug" in page and "http" not in page.replace("http://www.w3.org", "")


def test_without_time_nothing_is_calibrated(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "drift", str(files / "reference.parquet"), str(files / "same.csv"))

    assert (code, value["files"][0]["calibrated"], value["files"][0]["alarm"]) == (0, False, 0)  # type: ignore[index]


@pytest.mark.parametrize(("words", "code", "told"), [
    (("reference.parquet", "none.csv"), 2, "none.csv"), (("none.parquet", "same.csv"), 2, "none.parquet"), (("empty.csv", "same.csv"), 3, "empty.csv"),
    (("header.csv", "same.csv"), 3, "no rows"), (("reference.parquet", "same.csv", "--time", "when"), 3, "when"), (("reference.parquet", "same.csv", "--importance", "torn.json"), 3, "torn.json"),
    (("reference.parquet", "same.csv", "--importance", "others.json"), 3, "none of the columns"),
    (("reference.parquet", "same.csv", "--importance", "endless.json"), 3, "endless.json"), (("twice.parquet", "same.csv"), 3, "`income`"),
    (("towns.csv", "same.csv", "--time", "town"), 3, "tells a time"),
    (("reference.parquet", "same.csv", "--html", "none/x.html"), 2, "x.html"), (("reference.parquet", "torn.parquet"), 3, "torn.parquet")], ids=str)
def test_what_cannot_be_compared_is_told(files: Path, words: tuple[str, ...], code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(files)
    (files / "empty.csv").write_text("")
    (files / "header.csv").write_text("income,age\n")
    (files / "torn.json").write_text("{")
    (files / "endless.json").write_text('{"income": Infinity, "age": 0.1}')
    (files / "towns.csv").write_text("income,town\n1,Bern\n2,Chur\n")
    pq.write_table(pa.table([[1.0], [2.0]], names=["income", "income"]), files / "twice.parquet")
    (files / "others.json").write_text('{"incom": 0.4}')
    (files / "torn.parquet").write_bytes((files / "other.parquet").read_bytes()[:5_000])

    found, value = said(capsys, "drift", *words)

    assert found == code and told in value["error"]["message"] and value["error"]["remedy"]  # type: ignore[index]


def test_an_empty_night_is_undecided_and_said_so(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dated(10, 1, 1).iloc[:0].to_parquet(files / "empty.parquet")

    code, value = said(capsys, "drift", str(files / "reference.parquet"), str(files / "empty.parquet"))
    with pytest.raises(SystemExit):
        main(["drift", str(files / "reference.parquet"), str(files / "empty.parquet")])

    assert (code, value["files"][0]["rows"]) == (3, 0)  # type: ignore[index]
    assert {each["verdict"] for each in value["files"][0]["columns"].values()} == {"undecided"}  # type: ignore[index]
    assert "nothing can be told" in " ".join(capsys.readouterr().out.lower().split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = project(tmp_path)
    run_plainly(made)
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(tmp_path))
    return made


def test_a_model_is_compared_by_its_name(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "drift", "credit")

    assert code == 0 and {*value["files"][0]["columns"]} == {"income", "age", "city", "(prediction)", "(performance)"}  # type: ignore[index]
    assert said(capsys, "drift", "credit", "--time", "x")[0] == 2


def test_files_are_read_as_gates_read_them(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.read_parquet(files / "reference.parquet").to_csv(files / "reference.csv", index=False, sep=";")
    pd.read_csv(files / "same.csv").to_csv(files / "same.csv.gz", index=False)
    words = ("--time", "day", "--every", "day")

    first, second = (said(capsys, "drift", str(files / one), str(files / other), *words)[1]["files"][0]  # type: ignore[index]
                     for one, other in (("reference.parquet", "same.csv"), ("reference.csv", "same.csv.gz")))

    assert {**first, "data": ""} == {**second, "data": ""} and second["calibrated"]
