"""An installation whose store is a bucket: nights, service, rollback and upkeep over real S3 requests, to moto's server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightgate.records import history
from nightgate.releases import promote
from nightgate.scoring.batch import score
from nightgate.settings import Settings, settings
from tests.commands import said
from tests.projects import people, project, run_plainly
from tests.servers import object_store
from tests.services import Client, running

ROW = {"income": 48.5, "age": 40, "city": "Bern"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Give a project on a machine of its own whose store is a bucket."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "project").mkdir()
    made = project(tmp_path / "project")
    with object_store("nights") as bucket:
        monkeypatch.setenv("NIGHTGATE_STORE", f"{bucket}/store")
        monkeypatch.setenv("NIGHTGATE_PROJECT", str(made.root))
        yield settings()


def test_a_bucket_serves_as_store(place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.store_url == "s3://nights/store"
    # a night that was killed goes on, on another machine, with the candidates that it had
    assert run_plainly(place) is not None
    assert run_plainly(place, until="a kill") is None
    kept = "runs/credit/2/candidates/logistic/trained.joblib"
    before = place.store.modified(kept)
    monkeypatch.setenv("HOME", str(tmp_path / "another"))
    again = run_plainly(place)
    assert again is not None and (again.run, again.resumed, place.store.modified(kept)) == (2, True, before)


    # the service reads releases from the bucket, and follows the pointer there and back
    with running(place) as (client, _):
        assert version_of(client, until=1) == 1
        promote(place, "credit", 2, as_of="2026-11-24", why="test")
        assert version_of(client, until=2) == 2
        assert said(capsys, "rollback", "credit")[1]["champion"] == 1
        assert version_of(client, until=1) == 1

    # upkeep finds everything in order, and a replay comes out the same
    code, replayed = said(capsys, "replay", "credit", "1")
    assert (code, replayed.get("differs")) == (0, []), replayed
    assert said(capsys, "doctor") == (0, {"findings": [], "left": 0})
    assert [(record.run, record.verdict) for record in history(place.store, "credit")] == [(1, "promoted"), (2, "kept")]
    people(300, seed=2).drop(columns="default").to_csv(tmp_path / "new.csv", index=False)
    assert score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / "scored.parquet").rows == 300
    assert said(capsys, "remove", "credit", "--yes")[0] == 0
    assert place.store.files("runs") == place.store.files("releases") == []


def version_of(client: Client, *, until: int) -> int:
    """Ask until a version answers."""
    client.connection.close()  # what came before took longer than a service keeps a connection
    for _ in range(10_000):
        code, answer = client.post(ROW)
        assert code == 200, answer
        if answer["version"] == until:
            return until
    return -1
