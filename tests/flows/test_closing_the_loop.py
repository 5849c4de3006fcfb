"""Closing the loop on real servers: shifted requests → log → monitoring → event → retraining → promotion → the service answers anew."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.monitoring import monitoring
from nightgate import episodes
from nightgate.errors import ContractBroken
from nightgate.records import read_record
from nightgate.releases import champion_of
from tests.flows.test_operations import asked, until
from tests.projects import people, project, run_plainly

ENDED = ("COMPLETED", "FAILED", "CRASHED")


def world(rows: int, seed: int, *, other: bool) -> pd.DataFrame:
    """Return days of people; in the other world incomes are higher, and who earns more defaults less instead of more."""
    frame = people(rows, seed, strength=2.0)
    if other:
        frame["default"] = frame["default"].map({"yes": "no", "no": "yes"})
        frame["income"] += 8
    return frame


def dated(parts: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(asked=pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(len(frame)) * 5, unit="min"))


def answered(address: str, body: dict[str, object]) -> dict[str, Any]:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def shares(answer: dict[str, Any]) -> list[float]:
    return [each["probability"] for each in answer["predictions"]]


def test_drift_asks_for_a_retraining_that_is_promoted_on_evidence_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str,
                                                                               empty_server: None) -> None:
    before = dated([world(3_000, 0, other=False)])
    place = project(tmp_path, before, time="asked")
    for boundary in ("raw", "features", "predictions"):  # the source's owner has said that the change is real
        path = place.contracts_of("credit") / f"{boundary}.json"
        suite = json.loads(path.read_text())
        path.write_text(json.dumps({**suite, "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}))
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(tmp_path))
    assert run_plainly(place) is not None and champion_of(place, "credit") == 1
    dated([world(3_000, 0, other=False), world(9_000, 1, other=True)]).to_csv(tmp_path / "data.csv", index=False)

    environment = {**os.environ, "PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-m", "flows.runner"], cwd=tmp_path, env=environment, text=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as serving, \
            subprocess.Popen([sys.executable, "-m", "nightgate", "serve", "--port", "0"], cwd=tmp_path, text=True, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) as service:
        try:
            address = str(service.stderr.readline()).strip() if service.stderr is not None else ""
            requests = [json.loads(world(500, seed, other=True).drop(columns="default").assign(asked="2026-02-20T12:00:00").to_json(orient="records")) for seed in (2, 3)]
            first = [answered(address, {"rows": rows}) for rows in requests]
            until(serving, lambda: asked(prefect_api, "/automations/filter", {}))
            until(serving, lambda: len(asked(prefect_api, "/deployments/filter", {})) >= 5)
            with pytest.raises(ContractBroken, match="income"):
                monitoring("credit")
            with pytest.raises(ContractBroken, match="Raised now"):
                monitoring("credit")
            runs = until(serving, lambda: [run for run in asked(prefect_api, "/flow_runs/filter", {}) if run["parameters"].get("reason", "").startswith("drift of")])
            ended = until(serving, lambda: (run := asked(prefect_api, f"/flow_runs/{runs[0]['id']}"))["state"]["type"] in ENDED and run)
            second = until(service, lambda: (answer := answered(address, {"rows": requests[0]}))["version"] == 2 and answer)
        finally:
            for process in (serving, service):
                process.terminate()
                process.wait(60)

    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    record = read_record(place.store, "credit")
    assert (record.run, record.verdict, record.trigger[:9]) == (2, "promoted", "drift of ")
    assert "because drift of" in ended["name"]
    assert episodes.read(place.store, "credit")[-1].asks
    assert {answer["version"] for answer in first} == {1} and shares(first[0]) != shares(second)
    assert np.corrcoef(shares(first[0]), shares(second))[0, 1] < 0
