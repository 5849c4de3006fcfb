"""`init`, `new` and `schema`: what an author is told and what is written."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ended
from tests.projects import people


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a project without models; this process is in it."""
    (tmp_path / "models").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_project_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    code, told = ended(capsys, "init", "mine")
    again, _ = ended(capsys, "init", "mine")
    _, upgraded = ended(capsys, "init", "mine", "--upgrade", "--json")

    assert code == 0 and "cd mine && nightgate run breast_cancer" in told
    assert again == 2 and json.loads(upgraded)["changed"] == []
    assert {"flows", "tasks", "models", "data_contracts", "deployments", "tests", "README.md"} <= {path.name for path in
                                                                                                 (tmp_path / "mine").iterdir()}


def test_new_says_what_it_guessed_and_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["customer"], frame["score"] = range(len(frame)), (frame["default"] == "yes") * 5.0 + frame["income"] / 1e6
    frame.to_csv("data.csv", index=False)

    code, told = ended(capsys, "new", "credit", "--data", "data.csv", "--target", "default", "--entity", "customer", "--mask", "city")

    written: dict[str, Any] = tomllib.loads((folder / "models" / "credit.toml").read_text())
    assert code == 0 and "binary" in told and "without score" in told and "nightgate run credit" in told
    assert (written["positive"], written["entity"], written["columns"]["exclude"]) == ("yes", ["customer"], ["score"])
    assert written["privacy"]["mask"] == ["city"]
    assert "#:schema definition.schema.json" in (folder / "models" / "credit.toml").read_text()
    assert "Bern" not in "".join(path.read_text() for path in (folder / "data_contracts" / "credit").iterdir())


def test_new_writes_nothing_when_it_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people().to_csv("data.csv", index=False)

    code, told = ended(capsys, "new", "credit", "--data", "data.csv", "--target", "defaulted", "--json")

    error = json.loads(told)["error"]
    assert code == 3 and "Did you mean `default`?" in error["remedy"]
    assert [*(folder / "models").iterdir()] == [] and not (folder / "data_contracts").exists()


def test_a_header_of_years_can_be_stated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people().rename(columns={"income": "2024", "age": "2025"})[["2024", "2025", "default"]].to_csv("data.csv", index=False)

    code, _ = ended(capsys, "new", "credit", "--data", "data.csv", "--header", "--target", "default")

    assert code == 0 and tomllib.loads((folder / "models" / "credit.toml").read_text())["source"]["header"] is True


def test_a_column_of_numbers_that_one_value_made_text_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people().astype({"income": object})
    frame.loc[3, "income"] = "none"
    frame.to_csv("data.csv", index=False)

    _, told = ended(capsys, "new", "credit", "--data", "data.csv", "--target", "default", "--json")

    assert "599 of 600 values are numbers" in json.loads(told)["excluded"]["income"]
