"""A Dask cluster of real processes: what a night makes on it is what it makes on one machine, though a worker dies of it."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nightgate import cluster
from nightgate.cluster import connected
from nightgate.errors import DefinitionError, SourceUnavailable, UsageError
from nightgate.scoring import batch
from nightgate.scoring.batch import score
from nightgate.settings import Settings, settings
from tests.projects import people, project, run_plainly
from tests.servers import dask_cluster, free_port

PATIENT = """
import os, time
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Patient(DecisionTreeClassifier):
    def fit(self, X, y, sample_weight=None):
        folder = Path(os.environ["PATIENT"])
        (folder / str(os.getpid())).touch()
        for _ in range(60_000):
            if (folder / "go").exists():
                return super().fit(X, y)
            time.sleep(0.01)
        raise ValueError("nobody said go")
"""
CANDIDATES = """
[candidates.patient]
estimator = "models.patient.Patient"
search = { max_depth = [2, 3] }

[candidates.boosting]
estimator = "boosting"
parameters = { max_iter = 20 }
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the folder in which each process that fits says so, and where `go` lets it."""
    folder = tmp_path_factory.mktemp("patient")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATIENT", str(folder))
        yield folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, patient: Path) -> Settings:
    made = project(tmp_path_factory.mktemp("clustered"), people(), extra=CANDIDATES)
    (made.root / "models" / "patient.py").write_text(PATIENT)
    return made


@pytest.fixture(scope="module")
def address(place: Settings) -> Iterator[str]:
    with dask_cluster(place.root, workers=2) as scheduler:
        yield scheduler


def kill_the_first(patient: Path, killed: list[int], over: threading.Event) -> None:
    """Kill the process that fits first, and let the others go on."""
    while not killed and not over.wait(0.01):
        killed += [int(path.name) for path in patient.iterdir()][:1]
    for process in killed:
        os.kill(process, signal.SIGKILL)
    (patient / "go").touch()


def test_a_night_on_a_cluster_makes_the_same_model_though_a_worker_is_killed(
        place: Settings, address: str, patient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(place.root)
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_the_first, args=(patient, killed, over))
    killer.start()
    try:
        there = run_plainly(replace(place, dask=address))
    finally:
        over.set()
        killer.join()
    here = run_plainly(place)

    assert killed and killed != [os.getpid()]
    assert there is not None and here is not None and (there.verdict, here.verdict) == ("promoted", "kept")
    assert there.model_sha256 == here.model_sha256
    assert [replace(each, seconds=0) for each in there.candidates] == [replace(each, seconds=0) for each in here.candidates]
    # a table is scored there by groups of rows, and comes out the same
    people(700, seed=3).drop(columns="default").to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.setattr(batch, "GROUP", 200)
    for name, dask in (("here", None), ("there", address)):
        score(place, "credit", source=str(tmp_path / "new.csv"), output=tmp_path / f"{name}.parquet", dask=dask)
    assert len(pd.read_parquet(tmp_path / "there.parquet")) == 700
    assert pq.read_table(tmp_path / "there.parquet").equals(pq.read_table(tmp_path / "here.parquet"))


def test_what_a_worker_raises_is_told_as_on_one_machine(place: Settings, address: str) -> None:
    def refuse(why: str) -> None:  # workers know nothing of this file: it is sent whole
        raise DefinitionError(why)

    with connected(address, place.root) as found, pytest.raises(DefinitionError, match="never heard of"):
        found.map(refuse, [("never heard of",)])
    (place.root / "models" / "later.py").write_text("LATER = True")
    cluster.code_version.cache_clear()
    try:
        with connected(address, place.root) as found, pytest.raises(UsageError, match="other code"):
            found.map(refuse, [("not asked",)])
    finally:
        (place.root / "models" / "later.py").unlink()
        cluster.code_version.cache_clear()


def test_a_cluster_of_other_versions_is_refused(place: Settings, tmp_path: Path) -> None:
    (tmp_path / "nightgate-9.9.dist-info").mkdir()
    (tmp_path / "nightgate-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: nightgate\nVersion: 9.9\n")

    with dask_cluster(place.root, workers=1, PYTHONPATH=str(tmp_path)) as address, pytest.raises(UsageError, match=r"nightgate 9\.9, here 0"), \
            connected(address, place.root):
        pass


def test_a_scheduler_that_does_not_answer_or_has_no_worker_is_told(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "WORKERLESS_SECONDS", 0.2)

    with pytest.raises(SourceUnavailable, match="does not answer"), connected(f"tcp://127.0.0.1:{free_port()}", place.root):
        pass
    with pytest.raises(SourceUnavailable, match="does not answer"), connected("no://such", place.root):
        pass
    with dask_cluster(place.root, workers=0) as address, pytest.raises(SourceUnavailable, match="no worker"), connected(address, place.root):
        pass


def test_work_that_ends_its_workers_and_a_scheduler_that_dies_are_told(place: Settings) -> None:
    def end(process: int) -> None:
        os.kill(process or os.getpid(), signal.SIGKILL)

    with dask_cluster(place.root, workers=2, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as address, \
            connected(address, place.root) as found:
        with pytest.raises(SourceUnavailable, match="has ended 1 workers"):
            found.map(end, [(0,)])
        scheduler = found.client.run_on_scheduler(os.getpid)
        with pytest.raises(SourceUnavailable, match="was lost"):
            found.map(end, [(scheduler,)])


def test_the_cluster_is_a_setting_of_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.nightgate]\ncompute.dask = "tcp://one:8786"\n')
    assert settings(tmp_path).dask == "tcp://one:8786"
    monkeypatch.setenv("NIGHTGATE_COMPUTE_DASK", "tcp://other:8786")
    assert settings(tmp_path).dask == "tcp://other:8786"
    (tmp_path / "pyproject.toml").write_text('[tool.nightgate]\ncompute.dsk = "tcp://one:8786"\ncompute.x = 1\n')
    with pytest.raises(DefinitionError, match=r"compute\.dsk, compute\.x"):
        settings(tmp_path)
