"""`nightgate quarantine`: what was set aside is shown with its reasons, exported, and let pass by a person."""

import json
from pathlib import Path

import pandas as pd
import pytest

from nightgate.settings import Settings
from tests.commands import said, shown
from tests.projects import edit_contract, project, run_plainly


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give a project whose run set aside everybody who is older than 78."""
    made = project(tmp_path)
    edit_contract(made, "raw", {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "max_value": 78}})
    path = made.contracts_of("credit") / "raw.json"
    suite = json.loads(path.read_text())
    suite["meta"]["nightgate"]["quarantine"] = 0.1
    path.write_text(json.dumps(suite))
    run_plainly(made)
    monkeypatch.chdir(tmp_path)
    return made


def old(place: Settings) -> int:
    return int((pd.read_csv(place.root / "data.csv")["age"] > 78).sum())


def test_rows_are_shown_with_their_reasons(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "quarantine", "credit")
    rows = value["boundaries"]["raw"]["rows"]
    assert code == 0 and value["rows"] == len(rows) == old(place) > 0
    assert {row["age"] for row in rows} == {79} and all(row["nightgate_reasons"] == ["`age` is at most 78"] for row in rows)
    assert "`age` is at most 78" in shown(capsys, "quarantine", "credit")


@pytest.mark.parametrize("name", ["aside.csv", "aside.parquet"])
def test_rows_are_exported(name: str, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "quarantine", "credit", "--export", name)
    frame = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert len(frame) == old(place) and set(frame["age"]) == {79} and set(frame["boundary"]) == {"raw"}


def test_released_rows_are_trained_on_and_others_are_still_set_aside(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = said(capsys, "quarantine", "credit", "--release", "--reason", "their papers were seen")
    frame = pd.read_csv(place.root / "data.csv")
    new = frame.iloc[:1].assign(age=79, income=51.5)
    pd.concat([frame, new]).to_csv(place.root / "data.csv", index=False)

    record = run_plainly(place)
    _, value = said(capsys, "quarantine", "credit")

    assert code == 0 and record is not None and record.gates[0].quarantined == 1
    assert [row["income"] for row in value["boundaries"]["raw"]["rows"]] == [51.5]
    note = json.loads((Path(place.store_url) / "runs/credit/1/released-raw.json").read_text())
    assert note["rows"] == old(place) - 1 and note["why"] == "their papers were seen"


@pytest.mark.parametrize(("words", "message"), [(["--release"], "--reason"), (["--export", "aside.xlsx"], "aside.xlsx"),
                                                (["--export", "nowhere/aside.csv"], "nowhere")])
def test_what_cannot_be_done_is_refused(words: list[str], message: str, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "quarantine", "credit", *words)
    assert code == 2 and message in value["error"]["message"]


def test_a_run_without_such_rows_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_plainly(project(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, value = said(capsys, "quarantine", "credit")
    assert code == 0 and value["rows"] == 0
