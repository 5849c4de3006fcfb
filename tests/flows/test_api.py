"""Other services: every example of docs/api.md against `nightgate up` with a password, and what the client refuses and repeats."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nightgate.client import ask, outcome, trigger, wait
from nightgate.errors import SourceUnavailable, UsageError
from nightgate.records import history
from nightgate.skeleton import write
from nightgate.store import Store
from tests.projects import ROOT
from tests.servers import free_port

PASSWORD = "admin:a-password-of-a-test"
EXAMPLES = re.findall(r"^```(bash|python)\n(.*?)^```", (ROOT / "docs/api.md").read_text(), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Up:
    """A running `nightgate up`: where it answers, its project, and the environment of those who ask it."""

    api: str
    project: Path
    environment: dict[str, str]

    @property
    def store(self) -> Store:
        return Store(str(self.project / ".nightgate"))

    def bash(self, text: str, **variables: str) -> str:
        """Run an example of the documentation, in a shell that stops at the first failure."""
        script = f"set -euo pipefail\n{text.replace('http://127.0.0.1:4200/api', self.api)}"
        ended = subprocess.run(["bash", "-c", script], env={**self.environment, "API": self.api, **variables}, capture_output=True, text=True,
                               check=False)
        assert ended.returncode == 0, (text, ended.stdout, ended.stderr)
        return ended.stdout


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    project, port = tmp_path_factory.mktemp("api") / "project", free_port()
    write(project)
    api = f"http://127.0.0.1:{port}/api"
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}, "PREFECT_API_URL": api,
                   "PREFECT_API_AUTH_STRING": PASSWORD, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "nightgate", "up", "--port", str(port)], cwd=project,
                          env={**environment, "PREFECT_SERVER_API_AUTH_STRING": PASSWORD}, stdout=subprocess.DEVNULL) as process:
        made = Up(api, project, environment)
        try:
            _deployed(made, process)
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)


def _deployed(made: Up, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the runner has written all: the automation is the last."""
    asking = 'curl -sf -u "$PREFECT_API_AUTH_STRING" -X POST $API/automations/filter -H "Content-Type: application/json" -d "{}" || echo []'
    while not json.loads(made.bash(asking)):
        assert process.poll() is None, (made.project / ".nightgate/up.log").read_text()[-3_000:]
        subprocess.run(["sleep", "0.3"], check=True)


@pytest.fixture(autouse=True)
def _asked(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", up.api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PASSWORD)


def test_every_example_of_the_documentation_works(up: Up) -> None:
    by_curl, by_python, by_webhook, _, decision = (text for _, text in EXAMPLES)

    first, again = (json.loads(up.bash(by_curl)) for _ in range(2))
    told = subprocess.run([sys.executable, "-c", by_python], env=up.environment, capture_output=True, text=True, check=True).stdout
    up.bash(by_webhook)
    shown = json.loads(up.bash(decision, RUN=first["id"]))

    assert first["id"] == again["id"], "the same key started two runs"
    assert told.startswith(("promoted Run ", "kept Run "))
    assert json.loads(shown[0]["data"])[0]["verdict"] in told
    asked = {"a new laboratory", "the warehouse has loaded"}
    until(lambda: asked <= {record.trigger for record in history(up.store, "breast_cancer")})
    logged = up.bash('curl -sf --retry 5 -u "$PREFECT_API_AUTH_STRING" -X POST $API/logs/filter -H "Content-Type: application/json" -d "{}"')
    assert "gate-raw: 106 checks held on 569 rows" in logged, "what the stages say is not in the run's log"


def until(ready: Any) -> Any:
    """Ask until there is an answer; the client's own waiting is between two questions."""
    for _ in range(600):
        if found := ready():
            return found
        subprocess.run(["sleep", "0.2"], check=True)
    raise AssertionError("it never came")


def test_a_dry_run_changes_nothing_and_says_so(up: Up) -> None:
    ended = wait(trigger("wine_cultivar", dry_run=True, as_of=date(2026, 11, 1), reason="what if"))

    assert ended.verdict == "kept" and str(ended.reason).startswith("Dry run, nothing was changed: ") and ended.champion is None
    assert history(up.store, "wine_cultivar")[-1].as_of == "2026-11-01"


def test_what_is_wrong_is_refused_and_told(up: Up) -> None:
    with pytest.raises(UsageError, match=r"409 .*'nope' is not one of"):
        trigger("nope")
    with pytest.raises(UsageError, match="401"):
        trigger("breast_cancer", auth="admin:wrong")
    with pytest.raises(UsageError, match="404"):
        trigger("breast_cancer", flow="unheard")
    failed = wait(trigger("breast_cancer", overrides={"training.flds": "7"}))
    assert failed.state == "Failed" and "training.flds" in failed.message and failed.verdict is None


@pytest.mark.parametrize("words", [("run", "wine_cultivar"), ("pause", "wine_cultivar"), ("deploy",), ("doctor",)], ids=" ".join)
def test_a_wrong_password_is_one_sentence_whatever_is_asked(words: tuple[str, ...], up: Up) -> None:
    ended = subprocess.run([sys.executable, "-m", "nightgate", *words, "--json"], cwd=up.project, capture_output=True, text=True, check=False,
                           env={**up.environment, "PREFECT_API_AUTH_STRING": "admin:wrong"})

    error = json.loads(ended.stdout)["error"]
    assert ended.returncode == 2 and "401" in error["message"] and "PREFECT_API_AUTH_STRING" in error["remedy"]
    assert "Traceback" not in ended.stderr


def test_the_outcome_of_a_run_is_read_by_its_id(up: Up) -> None:
    run = trigger("diabetes_progression", key="later")

    assert wait(run) == outcome(run.run_id)


def test_who_does_not_answer_is_asked_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightgate.client.WAITS", (0.0,) * 7)

    with pytest.raises(SourceUnavailable, match="does not answer"):
        trigger("breast_cancer", api=f"http://127.0.0.1:{free_port()}/api")


def test_all_models_are_asked_for_at_once_and_one_that_is_broken_stops_no_other(up: Up) -> None:
    broken = up.project / "models/broken.toml"
    broken.write_text("nothing = 1\n")
    try:
        asked = json.loads(up.bash(EXAMPLES[3][1]))
        failed = wait(asked["id"])
    finally:
        broken.unlink()

    assert failed.state == "Failed" and "broken" in failed.message
    keys = {f"{asked['id']} {path.stem}" for path in (up.project / "models").glob("*.toml")}
    runs = ask("POST", "/flow_runs/filter", {"flow_runs": {"idempotency_key": {"any_": [*keys, f"{asked['id']} broken"]}}})
    assert sorted(run["idempotency_key"] for run in runs) == sorted(keys)
    assert {run["parameters"]["reason"] for run in runs} == {"prices of the new year"}
