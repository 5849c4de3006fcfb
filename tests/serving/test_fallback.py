"""Releases without a compiled scorer: they say why, serve from a process apart, and code of one's own only where that is allowed."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightgate.errors import NotVerified
from nightgate.releases import read_manifest, read_release
from nightgate.scoring import batch
from nightgate.scoring.scorer import load_scorer
from nightgate.serving.fallback import FallbackScorer
from nightgate.serving.live import load
from nightgate.settings import Settings
from tests.projects import people, project, run_plainly
from tests.services import running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}
NEIGHBOURS = '\n[candidates.neighbours]\nestimator = "sklearn.neighbors.KNeighborsClassifier"\nparameters = { n_neighbors = 50 }\n'
OWN = '''
def features(frame):
    return frame.assign(double=frame["income"] * 2)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = project(tmp_path_factory.mktemp("apart"), people(1_000), extra=NEIGHBOURS)
    assert run_plainly(made) is not None
    return made


def test_scikit_learn_serves_in_a_process_apart_and_is_started_again(place: Settings) -> None:
    manifest = read_manifest(place.store, "credit", 1)
    with running(place) as (client, service):
        code, answer = client.post({"rows": [ROW, {**ROW, "city": None}]})
        scorer = service.following.champions["credit"]._row
        assert isinstance(scorer, FallbackScorer)
        scorer.process.kill()
        scorer.process.wait()
        again = client.post(ROW)
        scorer.close()

    assert "KNeighborsClassifier" in manifest.falls_back and set(manifest.files) == {
        "pipeline.skops", "training_rows.npy", "door.json", "probes.json"}
    assert (code, again[0]) == (200, 200) and again[1]["predictions"] == answer["predictions"][:1]


def test_scikit_learn_scores_tables_in_processes_apart(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = people(600, seed=3).drop(columns="default")
    rows.to_parquet(tmp_path / "new.parquet")
    monkeypatch.setattr(batch, "GROUP", 200)

    made = batch.score(place, "credit", source=str(tmp_path / "new.parquet"), output=tmp_path / "scored.parquet")

    np.testing.assert_array_equal(pd.read_parquet(made.output)["probability"], load_scorer(place, "credit", 1).predict(rows))


def test_a_pipeline_of_types_that_are_not_listed_is_not_loaded(place: Settings) -> None:
    from dataclasses import replace

    release = read_release(place, "credit", 1)
    assert release.manifest.trusted

    with pytest.raises(Exception, match="(?i)untrusted"):
        replace(release, manifest=replace(release.manifest, trusted=[])).pipeline  # noqa: B018


def test_code_of_ones_own_serves_only_where_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = project(tmp_path, people(1_000))
    (tmp_path / "models/credit.py").write_text(OWN)
    definition = tmp_path / "models/credit.toml"
    definition.write_text(definition.read_text() + '\n[features]\nown = "models.credit:features"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_plainly(made) is not None
    manifest = read_manifest(made.store, "credit", 1)

    with pytest.raises(NotVerified, match="code of its own"):
        load(made, "credit", 1, pointed=manifest.sha256, allow_code=False)
    live = load(made, "credit", 1, pointed=manifest.sha256, allow_code=True)
    try:
        assert len(live.scores(live.door.checked([ROW]))) == 1 and "own code" in manifest.falls_back
    finally:
        live.close()
    assert os.environ.get("NIGHTGATE_PROJECT") is None
