"""What the compose file's containers run, run here as plain processes against a real PostgreSQL: commands, environment, health checks."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from nightgate import skeleton
from nightgate.client import ask
from nightgate.processes import mark
from tests.deployments.test_files import PASSWORDS, composed
from tests.servers import free_port

PORT = free_port()
TRIES = 600


@pytest.fixture(scope="module")
def databases(postgresql: str) -> Iterator[dict[str, str]]:
    """Give what replaces the names that only the containers' network knows, with the two databases of compose.yaml."""
    url = make_url(postgresql)
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("CREATE DATABASE composed_prefect"))
        connection.execute(text("CREATE DATABASE composed_nightgate"))
        connection.execute(text("CREATE ROLE nightgate SUPERUSER LOGIN PASSWORD 'p4ss/word'"))
    yield {"postgres/nightgate": f"127.0.0.1:{url.port}/composed_nightgate", "//server:4200": f"//127.0.0.1:{PORT}",
           "127.0.0.1:4200": f"127.0.0.1:{PORT}", "0.0.0.0": "127.0.0.1"}


@pytest.fixture(scope="module")
def services(databases: dict[str, str], postgresql: str) -> dict[str, Any]:
    """Give the services as Docker Compose understands them, on this machine."""
    told = composed("compose.yaml", **PASSWORDS).stdout
    for name, here in databases.items():
        told = told.replace(name, here)
    found: dict[str, Any] = json.loads(told)["services"]
    found["server"]["environment"] |= {
        "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1", "PREFECT_SERVER_DATABASE_PORT": str(make_url(postgresql).port),
        "PREFECT_SERVER_DATABASE_NAME": "composed_prefect", "PREFECT_SERVER_API_PORT": str(PORT)}
    return found


def started(service: dict[str, Any], words: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a command of a service as its container would, in the project."""
    home = {"HOME": str(folder), "PREFECT_HOME": str(folder / "prefect"), "NIGHTGATE_PROJECT": str(folder / "project")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(words, cwd=folder / "project", env={**service["environment"], "PATH": path, **home}, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def died(api: str, password: str) -> Callable[[], tuple[str, list[Any]]]:
    """Make a run whose worker died with it; return what asks for its state, and for the runs that took its place."""
    def asked(method: str, path: str, body: Any = None) -> Any:
        return ask(method, path, body, api=api, auth=password)

    deployment = asked("GET", "/deployments/name/retraining/breast_cancer")["id"]
    run = asked("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": {"model": "breast_cancer"}})["id"]
    asked("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    machine, process, _ = mark().rsplit("|", 2)
    asked("PATCH", f"/flow_runs/{run}", {"infrastructure_pid": f"{machine}|{process}|before"})
    return lambda: (asked("GET", f"/flow_runs/{run}")["state"]["type"],
                    asked("POST", "/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["again"]}}}))


def test_server_and_deployment_work_together_as_composed(services: dict[str, Any], tmp_path: Path) -> None:
    skeleton.write(tmp_path / "project")
    server = services["server"]
    with ExitStack() as ended:
        running = started(server, server["command"], tmp_path)
        ended.callback(running.communicate)
        ended.callback(running.terminate)
        for _ in range(TRIES):
            healthy = started(server, server["healthcheck"]["test"][1:], tmp_path)
            healthy.communicate()
            if healthy.returncode == 0 or running.poll() is not None:
                break
        assert healthy.returncode == 0
        pages = urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ui-settings", timeout=30).read()
        deploying = started(services["deploy"], services["deploy"]["command"], tmp_path)
        told = deploying.communicate(timeout=300)[0]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/deployments/name/retraining/on-demand", timeout=30)
        dead = died(f"http://127.0.0.1:{PORT}/api", server["environment"]["PREFECT_SERVER_API_AUTH_STRING"])
        doctor = started(services["doctor"], services["doctor"]["command"], tmp_path)
        ended.callback(doctor.communicate)
        ended.callback(os.killpg, doctor.pid, signal.SIGKILL)
        assert doctor.stdout is not None
        while "ran nowhere" not in (line := doctor.stdout.readline()):
            assert line, "the doctor ended"
        state, again = dead()

    assert json.loads(pages)["api_url"] == "/api", "the pages ask where they came from, whatever name and port that is"
    assert state == "CRASHED" and len(again) == 1, "it is started again once"
    assert deploying.returncode == 0 and "retraining/breast_cancer" in told, told
