"""What the compose file's containers run, run here as plain processes against a real PostgreSQL: commands, environment, health checks."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from nightgate import skeleton
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
                            stderr=subprocess.STDOUT, text=True)


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

    assert json.loads(pages)["api_url"] == "/api", "the pages ask where they came from, whatever name and port that is"
    assert deploying.returncode == 0 and "retraining/breast_cancer" in told, told
