"""Monitoring and scoring as flows on a real server: what they find is shown, and what is wrong ends as Failed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from flows.monitoring import monitoring
from flows.scoring import scoring
from nightgate.errors import ContractBroken
from nightgate.settings import Settings
from tests.projects import people, project, run_plainly


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str) -> Settings:
    """Give a project with a champion, as this process's own."""
    made = project(tmp_path, name="loans")
    assert run_plainly(made, "loans") is not None
    monkeypatch.setenv("NIGHTGATE_PROJECT", str(tmp_path))
    return made


def artifacts(key: str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))


def descriptions(key: str) -> list[str]:
    return [str(each.description) for each in artifacts(key)]


def test_drift_is_shown_and_ends_the_flow_as_failed(place: Settings) -> None:
    night = monitoring("loans")
    assert (night["success"], night["asks"], night["open_since"]) == (True, False, None)

    frame = people(600, seed=1)
    frame.assign(income=frame["income"] + np.float64(20)).to_csv(place.root / "data.csv", index=False)
    with pytest.raises(ContractBroken, match="income"):
        monitoring("loans")

    assert sorted(descriptions("loans-drift")) == ["0 columns raise an alarm.", "2 columns raise an alarm."]
    page = f"(file://{place.root}/.nightgate/monitoring/loans/"
    assert all(page in str(each.data) for each in artifacts("loans-drift-report"))
    stopped, passed = sorted(descriptions("loans-gate-drift"))
    assert stopped.startswith("Gate **drift** STOPPED") and passed.startswith("Gate **drift** passed")


def test_a_table_is_scored_between_two_gates(place: Settings) -> None:
    people(50, seed=1).to_csv(place.root / "new.csv", index=False)
    people(50, seed=1).assign(income=1e9).to_csv(place.root / "bad.csv", index=False)

    made = scoring("loans", "new.csv", "scored.parquet")
    with pytest.raises(ContractBroken, match="income"):
        scoring("loans", "bad.csv", "bad.parquet")

    assert (made["rows"], len(pd.read_parquet(place.root / "scored.parquet"))) == (50, 50)
    stopped, passed = sorted(descriptions("loans-scoring-raw"))
    assert stopped.startswith("Gate **raw** STOPPED: loans: the raw contract is broken: 1 of 7 checks failed on 50 rows.")
    assert passed == "Gate **raw** passed: 7 checks held on 50 rows"
    assert len(descriptions("loans-scoring-predictions")) == 1 and not (place.root / "bad.parquet").exists()
