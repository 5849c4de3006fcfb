"""The record in MLflow, through a tracking server: over HTTP it takes less than its tables do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from nightgate import registry
from nightgate.settings import Settings
from tests.projects import project, run_plainly
from tests.servers import free_port, until_answered


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real MLflow server, whose tables and files are its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", str(folder / "files")]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    try:
        until_answered(f"{address}/health", process)
        yield address
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def place(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return project(tmp_path)


def test_nights_are_registered_through_a_server(place: Settings, server: str) -> None:
    """A release on this machine's disk is no source that a server takes; its files go there, too."""
    first, second = run_plainly(place), run_plainly(place)
    client = MlflowClient(server, server)
    versions = client.search_model_versions("name = 'credit'")
    run = client.get_run(str(client.get_model_version_by_alias("credit", "champion").run_id))

    assert first is not None and second is not None and (first.verdict, second.verdict) == ("promoted", "kept")
    assert {each.tags[registry.RUN]: each.tags[registry.RELEASE] for each in versions} == {
        str(number): place.store.address(f"releases/credit/{number}") for number in (1, 2)}
    assert client.get_registered_model("credit").aliases == {"champion": "1", "challenger": "2"}
    assert run.data.metrics and run.data.tags[registry.RUN] == "1" and client.list_artifacts(run.info.run_id)
    registry.remove_runs(place, "credit", [2])
    assert [each.version for each in client.search_model_versions("name = 'credit'")] == ["1"]
    registry.remove(place, "credit")
    assert not client.search_registered_models("name = 'credit'")
