"""`prefect deploy` of deployments/prefect.yaml, a worker, and the script by which GitHub asks for a retraining, all real."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from prefect import get_client

from nightgate import skeleton
from nightgate.records import read_record
from nightgate.store import Store
from tests.projects import ROOT


def python(project: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, *words], cwd=project, env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def script() -> str:
    """Return what the workflow runs in Python."""
    jobs = yaml.safe_load((ROOT / "deployments/github-actions.yml").read_text())["jobs"]
    (found,) = (step["run"] for step in jobs["retrain"]["steps"] if step.get("shell") == "python")
    return str(found)


def test_deployed_by_prefects_own_tool_a_model_is_retrained_when_github_asks(tmp_path: Path, prefect_api: str, empty_server: None) -> None:
    project = tmp_path / "project"
    skeleton.write(project)
    address = {"PREFECT_API_URL": prefect_api, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    subprocess.run([sys.executable, "-m", "prefect", "work-pool", "create", "nightgate", "--type", "process", "--overwrite"],
                   env={**os.environ, **address}, check=True, capture_output=True)

    deployed = python(project, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml", **address)
    told = deployed.communicate(timeout=120)[0]
    with get_client(sync_client=True) as client:
        found = {f"{client.read_flow(each.flow_id).name}/{each.name}": each for each in client.read_deployments()}
    worker = python(tmp_path, "-m", "prefect", "worker", "start", "--pool", "nightgate", NIGHTGATE_PROJECT=str(project), **address)
    try:
        asked = python(tmp_path, "-c", script(), MODEL="breast_cancer", REASON="a test", KEY="github-1", **address)
        answer = asked.communicate(timeout=300)[0]
    finally:
        worker.terminate()
        said = worker.communicate(timeout=60)[0]

    assert deployed.returncode == 0, told
    assert found.keys() == {"retraining/breast_cancer", "monitoring/breast_cancer", "compaction/breast_cancer", "retraining/on-demand",
                            "monitoring/on-demand", "scoring/on-demand", "approval/on-demand", "all-models/on-demand"}
    assert all(str(ROOT) not in str(each.pull_steps) and str(project) not in str(each.pull_steps) for each in found.values())
    assert (asked.returncode, answer.split()[0]) == (0, "promoted"), (answer, said)
    assert read_record(Store(str(project / ".nightgate")), "breast_cancer").trigger == "a test"
