"""Deploying to a server that is there: workers run the nights, what is paused stays paused, what is gone is removed."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prefect
import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.states import Scheduled

from flows.deploying import deploy, pause
from nightgate.errors import UsageError
from nightgate.operations import demand_server
from nightgate.records import read_record
from nightgate.settings import Settings, settings
from tests.projects import people, project
from tests.servers import free_port


def command(place: Settings, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=place.root, env={**os.environ, **environment}, capture_output=True, text=True,
                          check=False)


def nightgate(place: Settings, api: str, *words: str) -> tuple[int, Any]:
    ended = command(place, "nightgate", *words, "--json", PREFECT_API_URL=api)
    return ended.returncode, json.loads(ended.stdout)


def deployments(name: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        found = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return {str(each.entrypoint).split(".")[1]: each for each in found}


@pytest.fixture
def place(tmp_path: Path, empty_server: None) -> Settings:
    return project(tmp_path, people(), name="loans")


def test_a_worker_runs_what_was_deployed(place: Settings, prefect_api: str) -> None:
    code, value = nightgate(place, prefect_api, "deploy")
    with get_client(sync_client=True) as client:
        scheduled = client.create_flow_run_from_deployment(deployments("loans")["retraining"].id, state=Scheduled())
        worker = command(place, "prefect", "worker", "start", "--pool", "nightgate", "--run-once", PREFECT_API_URL=prefect_api)
        ended = client.read_flow_run(scheduled.id).state

    assert code == 0 and {"retraining/loans", "monitoring/loans", "scoring/on-demand"} <= set(value["deployed"])
    assert ended is not None and ended.is_completed(), (ended, worker.stdout, worker.stderr)
    assert read_record(place.store, "loans").run_id == str(scheduled.id)


def test_a_worker_of_another_version_than_what_was_deployed_runs_nothing(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTGATE_DEPLOYED", "0.0.9")

    with pytest.raises(UsageError, match=r"This worker has Nightgate 0\..*, and what was deployed is of 0\.0\.9"):
        settings(place.root)


def test_a_paused_model_stays_paused_until_it_is_resumed(place: Settings, prefect_api: str) -> None:
    deploy(place, "nightgate")

    changed = pause(["loans", "unheard"], paused=True)
    deploy(place, "nightgate")
    paused = deployments("loans")["retraining"].paused
    pause(["loans"], paused=False)

    assert changed == {"changed": ["retraining/loans", "monitoring/loans"], "unknown": ["unheard"]}
    assert paused and not deployments("loans")["retraining"].paused


def test_deployments_of_models_that_are_gone_are_removed(place: Settings, prefect_api: str) -> None:
    deploy(place, "nightgate")
    (place.models / "loans.toml").rename(place.models / "credits.toml")
    (place.models / "credits.toml").write_text((place.models / "credits.toml").read_text().replace('"loans"', '"credits"'))

    value = deploy(place, "nightgate")

    assert sorted(value["removed"]) == ["monitoring/loans", "retraining/loans"]
    assert not deployments("loans") and deployments("credits")["retraining"].schedules[0].schedule.timezone == "UTC"


def test_a_model_that_is_removed_has_no_nights_any_more(place: Settings, prefect_api: str) -> None:
    deploy(place, "nightgate")

    code, value = nightgate(place, prefect_api, "remove", "loans", "--yes")

    assert (code, value["deployments"]) == (0, ["retraining/loans", "monitoring/loans"])
    assert not deployments("loans") and deployments("on-demand")


def test_mistakes_are_told(place: Settings, prefect_api: str) -> None:
    assert nightgate(place, "", "deploy")[1]["error"]["message"].endswith("PREFECT_API_URL is not set")
    assert nightgate(place, "http://127.0.0.1:9/api", "pause", "loans")[1]["error"]["kind"] == "SourceUnavailable"
    assert nightgate(place, prefect_api, "pause", "credits")[1]["error"]["kind"] == "FileMissing"
    code, value = nightgate(place, prefect_api, "deploy", "--pool")
    assert (code, value["error"]["kind"]) == (2, "UsageError")


def test_deploy_writes_the_others_beside_a_broken_definition_and_tells_what_was_changed_by_hand(place: Settings, prefect_api: str) -> None:
    deploy(place, "nightgate")
    with get_client(sync_client=True) as client:
        client.update_deployment(deployments("loans")["monitoring"].id, DeploymentUpdate(parameters={"model": "loans", "as_of": "2026-01-01"}))
    (place.models / "torn.toml").write_text("name = 7")

    ended = command(place, "nightgate", "deploy", PREFECT_API_URL=prefect_api)

    assert ended.returncode == 2 and "retraining/loans" in ended.stdout
    assert "monitoring/loans was changed by hand" in ended.stdout and "models/torn.toml has" in ended.stdout


@pytest.mark.parametrize(("version", "fits"), [("2.20.0", False), ("3.1.0", False), ("3.99.0", True), (prefect.__version__, True)])
def test_a_server_of_another_version_is_told(version: str, fits: bool) -> None:
    with answering(version) as api:
        if fits:
            demand_server(api)
        else:
            with pytest.raises(UsageError, match=rf"is of version {version}, and this is Prefect {prefect.__version__}"):
                demand_server(api)


@contextlib.contextmanager
def answering(version: str) -> Iterator[str]:
    """Serve what a server of a version says of itself; give the address of its API."""
    class Says(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(version).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Says) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_two_passwords_that_differ_are_told_before_anything_starts(place: Settings) -> None:
    ended = command(place, "nightgate", "up", "--port", str(free_port()), "--json", PREFECT_API_URL="",
                    PREFECT_SERVER_API_AUTH_STRING="admin:one", PREFECT_API_AUTH_STRING="admin:two")

    assert ended.returncode == 2 and "would refuse its own runner" in json.loads(ended.stdout)["error"]["message"]
    assert not (place.root / ".nightgate" / "up.log").exists()
