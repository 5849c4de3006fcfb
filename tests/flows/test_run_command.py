"""`nightgate run` in a terminal and for programs: progress, summary, record, exit codes."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightgate.settings import Settings
from tests.commands import ended
from tests.projects import edit_contract, people, project

NEVER = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "income", "max_value": 1, "mostly": 0.01}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Iterator[Settings]:
    """Give a project that this process is in; leave no filter of the command line on the logs."""
    made = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    yield made
    logging.getLogger("nightgate_begun").filters.clear()


def test_run_shows_stages_gates_candidates_and_the_decision(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = ended(capsys, "run", "credit", "--reason", "new labels", "--set", "training.seed=7")

    assert code == 0
    for stage in ("collect", "gate-raw", "engineer", "train-logistic", "evaluate", "decide", "promote"):
        assert f"✓ {stage}" in told
    assert "Run 1 becomes the first champion" in told
    assert "report.html" in told and "/runs/flow-run/" in told


def test_run_prints_its_record_and_the_next_one_keeps_the_champion(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = (ended(capsys, "run", "credit", "--as-of", "2026-03-01", "--json") for _ in range(2))
    records: list[dict[str, Any]] = [json.loads(text) for _, text in (first, again)]

    assert [code for code, _ in (first, again)] == [0, 0]
    assert [(each["run"], each["verdict"], each["champion"]) for each in records] == [(1, "promoted", 1), (2, "kept", 1)]
    assert records[0]["model_sha256"] == records[1]["model_sha256"]
    assert {"value", "low", "high"} == set(records[1]["metrics"]["champion"]["auc"])


def test_a_broken_contract_is_told_once_and_ends_with_3(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    edit_contract(place, "raw", NEVER)

    code, told = ended(capsys, "run", "credit")
    code_json, value = ended(capsys, "run", "credit", "--json")

    assert code == code_json == 3
    assert told.count("`income` is at most 1") == 1 and "Nothing was deployed." in told
    assert json.loads(value)["error"]["kind"] == "ContractBroken" and json.loads(value)["verdict"] == "stopped"


@pytest.mark.parametrize(("words", "code", "said"), [
    (("run",), 2, "No model is named"), (("run", "credit", "--as-of", "yesterday"), 2, "no date"),
    (("run", "credit", "--as-of", "2999-01-01"), 2, "in the future"), (("run", "loans"), 2, "credit"),
    (("run", "credit", "--set", "training.sead=1"), 2, "seed"), (("run", "credit", "--set", "seed"), 2, "no key=value")])
def test_what_cannot_be_run_is_said(place: Settings, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int,
                                    said: str) -> None:
    found, told = ended(capsys, *words)

    assert found == code and said in told


def test_one_failing_model_stops_no_other(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    text = (place.models / "credit.toml").read_text()
    (place.models / "absent.toml").write_text(text.replace('"credit"', '"absent"', 1).replace("data.csv", "gone.csv"))
    people().to_csv(place.root / "data.csv", index=False)
    (place.contracts_of("absent")).mkdir()
    for path in place.contracts_of("credit").iterdir():
        (place.contracts_of("absent") / path.name).write_text(path.read_text().replace("credit.", "absent."))

    code, told = ended(capsys, "run", "--all", "--json")

    files = json.loads(told)["files"]
    assert code == 2 and [(each["model"], each["verdict"]) for each in files] == [("absent", "failed"), ("credit", "promoted")]
    assert files[0]["error"]["kind"] == "FileMissing"


def test_a_class_that_a_fold_lacks_is_said(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["default"] = ["yes"] * 40 + ["no"] * (len(frame) - 40)
    frame.loc[3:39, "default"] = "no"
    frame.to_csv(place.root / "data.csv", index=False)
    for path in place.contracts_of("credit").iterdir():
        suite = json.loads(path.read_text())
        suite["expectations"] = suite["expectations"][:1]
        path.write_text(json.dumps(suite))

    code, told = ended(capsys, "run", "credit", "--json")

    value = json.loads(told)
    assert (code, value["error"]["kind"], value["verdict"]) == (3, "DataUnusable", "failed")
    assert "class `yes`" in value["error"]["message"]


def test_a_fault_in_own_code_is_one_json_value_too(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (place.root / "models" / "own.py").write_text("def features(frame):\n    return frame.no_such_column\n")
    path = place.models / "credit.toml"
    path.write_text(path.read_text() + '\n[features]\nown = "models.own:features"\n')

    code, told = ended(capsys, "run", "credit", "--json")

    assert code == 2 and "own.py" in json.loads(told)["error"]["message"]


KILLS = """
import psutil

def features(frame):
    for process in psutil.Process().children(recursive=True):
        if "uvicorn" in " ".join(process.cmdline()):
            process.kill()
    return frame
"""


def test_a_server_that_dies_is_told_in_a_sentence_and_the_night_runs_again(tmp_path: Path) -> None:
    place = project(tmp_path)
    (place.models / "own.py").write_text(KILLS)
    path = place.models / "credit.toml"
    path.write_text(path.read_text() + '\n[features]\nown = "models.own:features"\n')
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | {"PREFECT_CLIENT_MAX_RETRIES": "0"}

    def run() -> tuple[int, dict[str, Any]]:
        ended = subprocess.run([sys.executable, "-m", "nightgate", "run", "credit", "--json"], cwd=tmp_path, env=environment,
                               capture_output=True, text=True, check=False)
        return ended.returncode, json.loads(ended.stdout)

    code, value = run()
    (place.models / "own.py").write_text("def features(frame):\n    return frame\n")
    again, record = run()

    assert (code, value["error"]["kind"]) == (1, "ServerUnavailable")
    assert (again, record["run"], record["verdict"]) == (0, 2, "promoted")


def test_deploy_pause_and_resume_change_what_the_server_has(place: Settings, empty_server: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = ended(capsys, "deploy")
    paused, resumed = (json.loads(ended(capsys, word, "credit", "--json")[1]) for word in ("pause", "resume"))

    assert code == 0 and "retraining/credit" in told and "prefect worker start" in told
    assert paused["paused"] is True and resumed["paused"] is False
    assert sorted(paused["changed"]) == ["monitoring/credit", "retraining/credit"]
    assert ended(capsys, "pause", "unheard")[0] == 2
