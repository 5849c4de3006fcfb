"""`nightgate up`: a server with schedules that other services can trigger, and which ends without leaving anything."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nightgate.client import ask
from nightgate.errors import SourceUnavailable
from nightgate.records import read_record
from tests.projects import copied, people, project
from tests.servers import free_port


def until(process: "subprocess.Popen[str]", ready: Any) -> Any:
    """Ask until there is an answer, or the process has ended."""
    for _ in range(1_800):
        with contextlib.suppress(SourceUnavailable):
            if found := ready():
                return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    raise AssertionError(f"it ended with {process.returncode} or never came")


def asked(api: str, path: str, body: Any = None) -> Any:
    """Return what a route of a server's API answers, to POST where there is a body."""
    return ask("GET" if body is None else "POST", path, body, api=api)


def names(api: str) -> list[str]:
    return [each["name"] for each in asked(api, "/deployments/filter", {})]


def children(process: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process).children(recursive=True)]


def test_up_schedules_every_night_runs_on_demand_and_ends_cleanly(tmp_path: Path) -> None:
    import psutil

    (tmp_path / "project").mkdir()
    place = project(tmp_path / "project", people())
    port = free_port()
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "NIGHTGATE_PROJECT": str(place.root)}
    command = [sys.executable, "-m", "nightgate", "up", "--port"]
    api = f"http://127.0.0.1:{port}/api"
    with subprocess.Popen([*command, str(port)], cwd=place.root, env=environment, text=True, stdout=subprocess.PIPE) as up:
        try:
            until(up, lambda: len(ask("POST", "/deployments/filter", {}, api=api)) >= 7)
            deployments = {each["name"]: each for each in ask("POST", "/deployments/filter", {}, api=api) if each["entrypoint"].endswith(".retraining")}
            scheduled = until(up, lambda: ask("POST", "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}, api=api))
            second = subprocess.run([*command, str(port + 1), "--json"], cwd=place.root, env=environment, capture_output=True, text=True,
                                    check=False)
            other = copied(place.root, tmp_path / "other").root
            shared = subprocess.run([*command, str(free_port()), "--json"], cwd=other, capture_output=True, text=True, check=False,
                                    env={**environment, "NIGHTGATE_PROJECT": str(other), "NIGHTGATE_STORE": place.store_url})
            run = ask("POST", f"/deployments/{deployments['credit']['id']}/create_flow_run",
                      {"parameters": {"model": "credit", "reason": "asked by a test"}, "state": {"type": "SCHEDULED"}}, api=api)
            ended = until(up, lambda: (state := ask("GET", f"/flow_runs/{run['id']}", api=api)["state"])["type"] in ("COMPLETED", "FAILED", "CRASHED")
                          and state)
            definition = place.models / "credit.toml"
            (place.models / "debit.toml").write_text(definition.read_text().replace('"credit"', '"debit"'))
            come = until(up, lambda: "debit" in names(api))
            definition.unlink()
            gone = until(up, lambda: "credit" not in names(api))
            started = children(up.pid)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)

    assert come and gone, "models come and go without a new start"
    assert deployments["credit"]["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    assert len(scheduled) >= 3
    assert (second.returncode, json.loads(second.stdout)["error"]["kind"]) == (2, "UsageError")
    assert shared.returncode == 2 and f"runs already for the store {place.store_url}, of the project {place.root}" in shared.stdout
    assert ended["type"] == "COMPLETED", ended
    assert (read_record(place.store, "credit").trigger, read_record(place.store, "credit").run_id) == ("asked by a test", run["id"])
    assert not [number for number in started if psutil.pid_exists(number) and psutil.Process(number).status() != "zombie"]
