"""The retraining flow on a real Prefect server."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from nightgate.errors import ContractBroken, LeakFound, ModelBusy, StoreError
from nightgate.records import history, read_record, run_numbers
from nightgate.releases import champion_of
from nightgate.runs import holder_of, lease
from nightgate.settings import Settings
from tests.projects import SMALL, edit_contract, people, project
from tests.servers import dask_cluster

SMALLER = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "income", "max_value": 40}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Iterator[Settings]:
    """Give a project that this process is in."""
    made = project(tmp_path)
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(tmp_path))
    return made


def retrain(model: str = "credit", **parameters: Any) -> dict[str, Any]:
    """Run the flow in this process."""
    from flows.retraining import retraining

    return dict(retraining(model, **parameters))


def command(place: Settings, api: str, *words: str) -> "subprocess.Popen[str]":
    """Start the command line in a process of its own."""
    environment = {**os.environ, "NIGHTGATE_PROJECT": str(place.root), "PREFECT_API_URL": api}
    return subprocess.Popen([sys.executable, "-m", "nightgate", *words], cwd=place.root, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until a file is there, or the process that shall write it has ended."""
    while not path.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            return


def flow_run_states(run_id: str) -> tuple[str, str]:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run_id).state  # type: ignore[arg-type]
    assert state is not None
    return state.name, state.message or ""


def artifact_keys(prefix: str) -> set[str]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_=f"{prefix}-%")), limit=100)
    return {str(artifact.key) for artifact in found}


def test_candidates_are_trained_at_once_on_a_cluster_and_come_out_the_same(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with dask_cluster(place.root, workers=1) as address:
        monkeypatch.setenv("NIGHTGATE_COMPUTE_DASK", address)
        there = retrain()
    monkeypatch.delenv("NIGHTGATE_COMPUTE_DASK")
    here = retrain()

    assert (there["verdict"], here["verdict"]) == ("promoted", "kept")
    assert there["model_sha256"] == here["model_sha256"]


def test_first_run_is_promoted_and_second_is_kept(place: Settings) -> None:
    first, second = retrain(), retrain()

    assert (first["verdict"], first["champion"]) == ("promoted", 1)
    assert (second["verdict"], second["champion"], second["run"]) == ("kept", 1, 2)
    assert first["model_sha256"] == second["model_sha256"]
    assert first["metrics"]["challenger"]["auc"]["low"] <= first["metrics"]["challenger"]["auc"]["value"]
    assert [gate["boundary"] for gate in first["gates"]] == ["raw", "features", "predictions", "metrics"]
    assert Path(first["report"]).is_file()
    assert flow_run_states(first["run_id"])[0] == "Completed"
    assert {"credit-gate-raw", "credit-decision", "credit-report", "credit-card"} <= artifact_keys("credit")


def test_broken_contract_stops_the_run_and_is_told_alike(place: Settings) -> None:
    retrain()
    edit_contract(place, "raw", SMALLER)

    with pytest.raises(ContractBroken) as broken:
        retrain()

    record = read_record(place.store, "credit")
    assert (record.verdict, record.champion) == ("stopped", 1)
    assert record.error is not None and record.error["message"] == broken.value.message
    assert "`income` is at most 40" in broken.value.message
    name, message = flow_run_states(record.run_id)
    assert name == "Failed" and "`income` is at most 40" in message
    assert holder_of(place.registry, "credit") is None


def test_rows_against_a_rule_are_set_aside_and_never_trained_on(place: Settings) -> None:
    edit_contract(place, "raw", {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "max_value": 78}})
    path = place.contracts_of("credit") / "raw.json"
    suite = json.loads(path.read_text())
    suite["meta"]["nightgate"]["quarantine"] = 0.1
    path.write_text(json.dumps(suite))

    record = retrain()

    raw = next(gate for gate in record["gates"] if gate["boundary"] == "raw")
    features = next(gate for gate in record["gates"] if gate["boundary"] == "features")
    aside = pd.concat(map(pd.read_parquet, (Path(place.store_url) / "quarantine").glob("*.parquet")))
    assert raw["success"] and raw["quarantined"] == len(aside) > 0 and set(aside["age"]) == {79}
    assert record["evaluation"]["rows"] < record["dataset"]["rows"] - len(aside) and features["success"]


def test_leak_stops_the_run(place: Settings) -> None:
    frame = people()
    frame["score"] = (frame["default"] == "yes") * 5.0 + frame["income"] / 1e6
    frame.to_csv(place.root / "data.csv", index=False)

    with pytest.raises(LeakFound, match="score"):
        retrain()

    assert read_record(place.store, "credit").verdict == "stopped"


def test_a_past_night_sees_what_had_arrived_by_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> None:
    from nightgate.authoring import Wanted, make
    from nightgate.settings import settings

    project(tmp_path)
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(tmp_path))
    source = {"data": "stream:credit_applications?rows_per_day=20", "arrived": "known_at"}
    made = make(settings(), Wanted("loans", source, "defaulted", ("applicant",), "applied_at"))
    made.definition.write_text(made.definition.read_text() + SMALL + "\n[window]\ndays = 200\n")

    then, again, later = (retrain("loans", as_of=date(2026, month, 1)) for month in (6, 6, 7))

    assert then["dataset"]["sha256"] == again["dataset"]["sha256"] != later["dataset"]["sha256"]
    assert then["model_sha256"] == again["model_sha256"]
    assert then["collected"]["end"] == "2026-06-01T00:00:00"
    assert then["collected"]["last"] < "2026-05-02"  # the outcome is known a month later


def test_second_run_at_once_is_refused_and_told_which_holds(place: Settings) -> None:
    with lease(place.registry, "credit", run_id="the-first", key="k"), pytest.raises(ModelBusy, match="the-first"):
        retrain()


@pytest.mark.parametrize("stage", ["engineer", "train-logistic", "evaluate", "register", "promote"])
def test_killed_run_is_resumed_under_its_number(place: Settings, prefect_api: str, stage: str) -> None:
    begun = command(place, prefect_api, "run", "credit")
    notes = Path(place.store_url) / "runs/credit/1/notes" / f"{stage}.json"
    wait_for(notes, begun)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    collected = (notes.parent / "collect.json").read_text()

    ended = command(place, prefect_api, "run", "credit", "--json")
    output, _ = ended.communicate()
    record = json.loads(output)

    assert (record["run"], record["resumed"], record["champion"]) == (1, True, 1)
    assert champion_of(place, "credit") == 1
    assert (notes.parent / "collect.json").read_text() == collected, "a finished stage was repeated"
    assert run_numbers(place.store, "credit") == [1]


def test_interrupted_run_leaves_nothing_behind(place: Settings, prefect_api: str) -> None:
    begun = command(place, prefect_api, "run", "credit", "--json")
    notes = Path(place.store_url) / "runs/credit/1/notes/collect.json"
    wait_for(notes, begun)
    begun.send_signal(signal.SIGINT)
    output, _ = begun.communicate()

    record = read_record(place.store, "credit")
    assert begun.returncode == 130
    assert json.loads(output)["error"]["kind"] == "Interrupted"
    assert record.verdict == "failed"
    assert holder_of(place.registry, "credit") is None
    assert flow_run_states(record.run_id)[0] not in ("Running", "Pending")


def test_ctrl_c_reaches_the_run_and_not_the_embedded_server(place: Settings, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"NIGHTGATE_PROJECT": str(place.root), "PREFECT_HOME": str(tmp_path / "prefect")}
    begun = subprocess.Popen([sys.executable, "-m", "nightgate", "run", "credit", "--json"], cwd=place.root, env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(Path(place.store_url) / "runs/credit/1/notes/collect.json", begun)
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does
    _, told = begun.communicate()

    with contextlib.closing(sqlite3.connect(tmp_path / ".nightgate/prefect/prefect.db")) as database:
        states = [kind for kind, in database.execute("SELECT state_type FROM flow_run")]
    assert begun.returncode == 130 and "connection attempts failed" not in told
    assert states and not {"RUNNING", "PENDING"} & set(states)


def test_every_stage_keeps_its_result_for_a_run_that_goes_on(place: Settings, prefect_api: str) -> None:
    from prefect.settings import get_current_settings

    record = retrain()

    results = get_current_settings().results.local_storage_path
    kept = {path.name.partition(f"-credit-{record['run']}-")[0] for path in Path(results).iterdir() if "-credit-" in path.name}
    assert kept >= {"collect", "gate", "engineer", "train", "evaluate", "decide", "release", "report"}


def test_a_run_that_ended_without_a_word_is_told_by_the_next_one(place: Settings, prefect_api: str) -> None:
    begun = command(place, prefect_api, "run", "credit")
    wait_for(Path(place.store_url) / "runs/credit/1/notes/collect.json", begun)
    begun.send_signal(signal.SIGKILL)
    begun.wait()

    retrain(overrides={"training.seed": "7"})

    assert [(record.run, record.verdict) for record in history(place.store, "credit")] == [(1, "failed"), (2, "promoted")]
    assert "ended without a word" in read_record(place.store, "credit", 1).reason


def test_rows_that_the_features_gate_sets_aside_keep_champion_and_challenger_on_the_same_rows(place: Settings) -> None:
    first = retrain()
    path = place.contracts_of("credit") / "features.json"
    suite = json.loads(path.read_text())
    suite["meta"]["nightgate"]["quarantine"] = 0.2
    suite["expectations"].append({"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "min_value": 20, "max_value": 76}})
    path.write_text(json.dumps(suite))

    second = retrain()

    figures = {who: second["metrics"][who]["auc"]["value"] for who in ("challenger", "champion")}
    assert second["gates"][1]["quarantined"] > 10
    assert abs(figures["champion"] - first["metrics"]["challenger"]["auc"]["value"]) < 0.05
    assert second["verdict"] == "kept"


def test_a_column_that_is_excluded_later_leaves_the_champion_comparable(place: Settings) -> None:
    retrain()
    definition = place.models / "credit.toml"
    definition.write_text(definition.read_text().replace("[training]", '[columns]\nexclude = ["age"]\n\n[training]'))

    record = retrain()

    assert record["verdict"] in ("kept", "promoted") and record["metrics"]["champion"] is not None


VANISHING = """
from pathlib import Path

def features(frame):
    store, aside, once = (Path({root!r}) / name for name in (".nightgate", "aside", "once"))
    if not once.exists():
        once.touch()
        store.rename(aside)
        if {empty}:
            store.mkdir()
    return frame
"""
"""Own code that takes the store away while the features are made, as a disk that is unmounted does."""


@pytest.mark.parametrize("empty", [True, False], ids=["an empty mount point is left", "nothing is left"])
def test_a_store_that_vanishes_in_mid_run_is_told_and_the_next_run_works(empty: bool, place: Settings) -> None:
    store, own = place.root / ".nightgate", f"vanishing_{empty}".lower()
    (place.models / f"{own}.py").write_text(VANISHING.format(root=str(place.root), empty=empty))
    definition = place.models / "credit.toml"
    definition.write_text(f'{definition.read_text()}\n[features]\nown = "models.{own}:features"\n')

    with pytest.raises(StoreError, match="has lost what run 1 of credit wrote into it"):
        retrain()
    left = [path for path in store.rglob("*.json") if "results" not in path.parts] if store.exists() else []
    shutil.rmtree(store, ignore_errors=True)
    (place.root / "aside").rename(store)
    again = retrain()

    assert left == [], "nothing is written into what stands in its place"
    assert (again["verdict"], champion_of(place, "credit")) == ("promoted", again["run"])
    assert holder_of(place.registry, "credit") is None
