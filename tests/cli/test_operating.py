"""The commands score, drift, serve and up: what they say, and their exit codes."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from nightgate.cli.main import main
from nightgate.settings import Settings
from tests.commands import said
from tests.projects import people, project, run_plainly


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = project(tmp_path_factory.mktemp("operating"))
    assert run_plainly(made) is not None
    return made


@pytest.fixture
def place(finished: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(finished.root)
    return finished


def test_score_writes_predictions(place: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(40, seed=1).to_csv(tmp_path / "new.csv", index=False)

    code, value = said(capsys, "score", "credit", "--input", str(tmp_path / "new.csv"), "--output", str(tmp_path / "scored.parquet"))

    assert (code, value) == (0, {"model": "credit", "version": 1, "rows": 40, "output": str(tmp_path / "scored.parquet"), "window": "new.csv"})
    assert len(pd.read_parquet(value["output"])) == 40


def test_drift_of_files_and_of_a_model(place: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference, same, other = (str(tmp_path / name) for name in ("reference.csv", "same.parquet", "other.csv"))
    people(2_000).to_csv(reference, index=False)
    people(2_000, seed=1).to_parquet(same)
    people(2_000, seed=1).drop(columns="city").to_csv(other, index=False)

    code, value = said(capsys, "drift", reference, same, other)

    assert code == 3 and [(each["data"], each["alarm"], each["rows"]) for each in value["files"]] == [(same, 0, 2_000), (other, 1, 2_000)]
    assert value["files"][1]["columns"]["city"]["verdict"] == "alarm"
    assert set(value["files"][0]["columns"]["income"]) == {"verdict", "distance", "limit", "why"}
    assert said(capsys, "drift", reference, same)[0] == said(capsys, "drift", "credit")[0] == 0


def test_drift_is_told_in_a_table(place: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people(2_000).to_csv(tmp_path / "reference.csv", index=False)
    people(2_000, seed=1).assign(age=20).to_csv(tmp_path / "current.csv", index=False)

    with pytest.raises(SystemExit):
        main(["drift", str(tmp_path / "reference.csv"), str(tmp_path / "current.csv")])

    assert "age" in (shown := capsys.readouterr().out) and "alarm" in shown


@pytest.mark.parametrize(("words", "code", "kind"), [
    (("score", "credti", "--input", "x", "--output", "y"), 2, "FileMissing"), (("score", "credit", "--input", "x", "--output", "y"), 2, "FileMissing"),
    (("drift", "credti"), 2, "FileMissing"), (("drift", "data.csv", "none.csv"), 2, "FileMissing"), (("drift", "data.csv", "empty.csv"), 3, "DataUnusable"),
    (("serve", "--host", "0.0.0.0"), 2, "UsageError"), (("serve", "--models", "credti"), 2, "FileMissing"),
    (("serve", "--models", "other"), 2, "FileMissing")], ids=str)
def test_failures_are_one_json_value_with_a_remedy(words: tuple[str, ...], code: int, kind: str, place: Settings,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    (place.root / "empty.csv").write_text("")
    (place.root / "models/other.toml").write_text((place.root / "models/credit.toml").read_text().replace('"credit"', '"other"'))

    found, value = said(capsys, *words)

    assert (found, value["error"]["kind"]) == (code, kind)
    assert value["error"]["message"] and value["error"]["remedy"]


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_taken_port_is_told(command: str, place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        code, value = said(capsys, command, "--port", port)

    assert code == 2 and port in value["error"]["message"]


@pytest.mark.parametrize(("words", "mistake"), [(("up", "--port", "80000"), "`80000` is no port."), (("up", "--port", "0"), "`0` is no port."),
                                               (("up", "--port", "-1"), "`-1` is no port."), (("serve", "--port", "70000"), "no port.")], ids=str)
def test_what_is_no_port_is_one_error_before_anything_starts(words: tuple[str, ...], mistake: str, place: Settings,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, *words)

    assert code == 2 and mistake in value["error"]["message"] and "65535" in value["error"]["remedy"]


def test_the_service_answers_and_ends_when_it_is_told(place: Settings) -> None:
    with subprocess.Popen([sys.executable, "-m", "nightgate", "serve", "--port", "0", "--json"], cwd=place.root, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as service:
        assert service.stderr is not None
        address = service.stderr.readline().strip()
        request = urllib.request.Request(address, json.dumps({"income": 41.5, "age": 33, "city": "Bern"}).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            value = json.load(answer)
        service.send_signal(signal.SIGTERM)
        said, _ = service.communicate(timeout=60)

    assert (value["model"], value["version"], len(value["predictions"])) == ("credit", 1, 1)
    assert (service.returncode, json.loads(said)["ended"]) == (0, True)
