"""The whole stack on PostgreSQL and Redis: two Prefect servers and two runners, registry, MLflow, source and target; one half is ended."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy

from nightgate.client import ask
from nightgate.registry import reconcile
from nightgate.releases import champion_of
from nightgate.runs import holder_of
from nightgate.scoring.batch import score
from nightgate.settings import Settings, settings
from tests.flows.test_operations import asked, until
from tests.projects import people, project
from tests.servers import free_port

MODELS = ("credit", "debit")


@pytest.fixture
def databases(postgresql: str) -> Iterator[dict[str, str]]:
    """Give empty databases, each with its URL."""
    server = sqlalchemy.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        for name in ("prefect", "nightgate", "warehouse"):
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        yield {name: postgresql.removesuffix("postgres") + name for name in ("prefect", "nightgate", "warehouse")}
        for name in ("prefect", "nightgate", "warehouse"):
            connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def place(tmp_path: Path, databases: Mapping[str, str], redis: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give a project with two models over a table of the warehouse, and set what an installation sets."""
    project(tmp_path)
    for name, value in {
            "NIGHTGATE_PROJECT": str(tmp_path), "NIGHTGATE_REGISTRY": databases["nightgate"], "NIGHTGATE_RUNS": "1",
            "WAREHOUSE": databases["warehouse"], "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": databases["prefect"].replace("postgresql://", "postgresql+asyncpg://"),
            "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_REDIS_MESSAGING_URL": redis, "PREFECT_SERVER_DOCKET_URL": redis}.items():
        monkeypatch.setenv(name, value)
    people().to_sql("people", databases["warehouse"], index=False)
    first = tmp_path / "models" / "credit.toml"
    text = first.read_text().replace('data = "data.csv"', 'data = "${WAREHOUSE}"\nquery = "SELECT * FROM people"')
    for name in MODELS:
        (tmp_path / "models" / f"{name}.toml").write_text(text.replace('name = "credit"', f'name = "{name}"'))
    shutil.copytree(tmp_path / "data_contracts" / "credit", tmp_path / "data_contracts" / "debit")
    for path in (tmp_path / "data_contracts" / "debit").iterdir():
        path.write_text(path.read_text().replace('"credit.', '"debit.'))
    return settings()


def test_runs_and_events_are_of_all_servers_and_outlive_one(place: Settings) -> None:
    ports = [free_port(), free_port()]
    here, there = (f"http://127.0.0.1:{port}/api" for port in ports)
    other = {**os.environ, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_API_PORT": str(ports[1]), "PREFECT_API_URL": there,
             "PYTHONPATH": str(place.root)}
    started = [started_in(place, dict(os.environ), "nightgate", "up", "--port", str(ports[0]))]
    try:
        # the first makes the tables and writes the deployments
        until(started[0], lambda: len(asked(here, "/deployments/filter", {})) >= 8 and asked(here, "/automations/filter", {}))
        started += [started_in(place, other, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports[1])),
                    started_in(place, other, "flows.runner")]
        until(started[1], lambda: asked(there, "/deployments/filter", {}))
        # a night of each model, asked for at the two servers at once; each is followed at the other one
        credit, debit = triggered(here, "credit"), triggered(there, "debit")
        ended = [until(started[0], lambda: finished(there, credit)), until(started[0], lambda: finished(here, debit))]
        # one machine goes; an event that comes to the other one starts the automation's run
        started[0].send_signal(signal.SIGTERM)
        started[0].wait(60)
        told(there, "nightgate.retraining.asked", "nightgate.model.credit", {"model": "credit", "reason": "drift, says a test"})
        ended.append(until(started[1], lambda: by_event(there)))
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)

    assert [(each["state"]["type"], each["run_count"]) for each in ended] == [("COMPLETED", 1)] * 3, ended
    assert [champion_of(place, name) for name in MODELS] == [1, 1]
    assert [reconcile(place, name) for name in MODELS] == [[], []], "registry and releases agree"
    assert not any(holder_of(place.registry, name) for name in MODELS)
    made = score(place, "credit", source=str(place.root / "data.csv"), output="${WAREHOUSE}#scores", window="tonight")
    assert (made.rows, len(pd.read_sql("SELECT * FROM scores WHERE scored_window = 'tonight'", os.environ["WAREHOUSE"]))) == (600, 600)


def started_in(place: Settings, environment: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", *words], cwd=place.root, env=environment, text=True, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def triggered(api: str, model: str) -> str:
    """Ask a server for a run; return its id."""
    (deployment,) = (each for each in asked(api, "/deployments/filter", {}) if each["name"] == "on-demand" and "retraining" in each["entrypoint"])
    run = asked(api, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"model": model}, "state": {"type": "SCHEDULED"}})
    return str(run["id"])


def finished(api: str, run: str) -> Any:
    found = asked(api, f"/flow_runs/{run}")
    return found if found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def told(api: str, event: str, resource: str, payload: dict[str, str]) -> None:
    """Tell a server of an event."""
    body = {"id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat(), "event": event, "payload": payload,
            "resource": {"prefect.resource.id": resource}}
    ask("POST", "/events", [body], api=api)


def by_event(api: str) -> Any:
    """Return the run that the event has started, when it has ended."""
    runs = asked(api, "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 50})
    named = [each for each in runs if each["parameters"].get("reason") == "drift, says a test"]
    return finished(api, named[0]["id"]) if named else None
