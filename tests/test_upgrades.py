"""What an older version wrote opens in this one, and what a newer one wrote is refused with what to do.

The archives in tests/fixtures are stores of released versions, each written by that version: `make fixture`.
"""

import gzip
import json
import re
import tarfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from nightgate import episodes, registry, runs, skeleton
from nightgate.drift.reference import Reference, packed
from nightgate.errors import DataUnusable, NightgateError, StoreError
from nightgate.monitoring import PROFILE
from nightgate.records import read_record
from nightgate.releases import read_manifest, read_pointer
from nightgate.scoring import form
from nightgate.serving.following import read_trial
from nightgate.settings import Settings
from tests.commands import said
from tests.fixtures.making import EXPECTED, FOLDER, NIGHTS
from tests.projects import ROOT, copied, run_plainly, settings_of
from tests.services import running

ARCHIVES = sorted(FOLDER.glob("store-*.tar.xz"))


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with a released version's store, its flows brought up to date as an upgrade does; it is read only."""
    folder = tmp_path_factory.mktemp("old") / "project"
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    skeleton.upgrade(folder, ask=False)
    return folder


@pytest.fixture
def place(old: Path, tmp_path: Path) -> Settings:
    return copied(old, tmp_path / "moved")


def test_every_release_has_its_archive() -> None:
    released = re.findall(r"^## (\d+\.\d+\.\d+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert {f"store-{version}.tar.xz" for version in released} == {path.name for path in ARCHIVES}
    assert all(path.stat().st_size < 200 * 1024 for path in ARCHIVES)


def test_an_older_store_is_read(place: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place.root)

    code, status = said(capsys, "status", "credit")
    history = said(capsys, "history", "credit")[1]
    shown = said(capsys, "show", "credit", "1")[1]
    healthy, found = said(capsys, "doctor")

    assert code == 0 and (status["champion"], status["last_run"]["run"]) == (1, 2), status
    assert [run["as_of"] for run in history["runs"]] == [str(night) for night in reversed(NIGHTS)]
    assert shown["verdict"] == "promoted" and shown["gates"]
    assert (healthy, found["left"]) == (0, 0), found
    assert [night.as_of for night in episodes.read(place.store, "credit")] == [str(NIGHTS[-1])]


def test_an_older_release_answers_as_it_did(place: Settings) -> None:
    expected = json.loads((place.root / EXPECTED).read_text())

    with running(place) as (client, _service):
        refused, _ = client.post({"rows": expected["rows"]})
        code, answer = client.post({"rows": expected["rows"]}, x_api_key=expected["key"])

    assert (refused, code) == (401, 200), answer
    assert [each["prediction"] for each in answer["predictions"]] == [each["prediction"] for each in expected["predictions"]]
    assert [each["probability"] for each in answer["predictions"]] == pytest.approx([each["probability"] for each in expected["predictions"]])


def test_the_next_night_runs_on_an_older_store(place: Settings) -> None:
    place.public_key.unlink()  # the private one is in no archive

    record = run_plainly(place, as_of=date(2026, 1, 22))

    assert record is not None and record.run == 3 and record.verdict in ("promoted", "kept")
    assert record.metrics["champion"] is not None, "the older champion was compared with"
    assert registry.reconcile(place, "credit") == []


def changed_json(key: str) -> Callable[[Settings], None]:
    def change(place: Settings) -> None:
        place.store.write_json(key, {**place.store.read_json(key), "layout": 99})

    return change


def changed_profile(place: Settings) -> None:
    key = f"runs/credit/1/{PROFILE}"
    place.store.write(key, packed({**json.loads(gzip.decompress(place.store.read(key))), "layout": 99}))


def changed_registry(place: Settings) -> None:
    with create_engine(place.registry).begin() as connection:
        connection.execute(text("UPDATE nightgate_layout SET version = 99"))


@pytest.mark.parametrize(("change", "read"), [
    pytest.param(changed_registry, lambda place: runs.holder_of(place.registry, "credit"), id="registry"),
    pytest.param(changed_json("runs/credit/1/record.json"), lambda place: read_record(place.store, "credit", 1), id="record"),
    pytest.param(changed_json("releases/credit/1/manifest.json"), lambda place: read_manifest(place.store, "credit", 1), id="manifest"),
    pytest.param(changed_json("releases/credit/1/scorer.json"),
                 lambda place: form.read({name: place.store.read(f"releases/credit/1/{name}") for name in ("scorer.json", "scorer.npz")}),
                 id="scorer"),
    pytest.param(changed_json(f"monitoring/credit/{NIGHTS[-1]}.json"), lambda place: episodes.read(place.store, "credit"), id="monitoring"),
    pytest.param(changed_profile, lambda place: Reference.from_bytes(place.store.read(f"runs/credit/1/{PROFILE}")), id="profile"),
])
def test_a_newer_layout_is_refused_with_what_to_do(place: Settings, change: Callable[[Settings], None], read: Callable[[Settings], Any]) -> None:
    read(place)
    change(place)

    with pytest.raises((StoreError, DataUnusable), match="layout 99; this (Nightgate|version) reads") as refused:
        read(place)

    assert isinstance(refused.value, NightgateError) and refused.value.remedy


@pytest.mark.parametrize(("key", "read"), [("champion", read_pointer), ("trial", read_trial)])
def test_a_pointer_with_fields_of_a_newer_version_is_refused(place: Settings, key: str, read: Callable[..., Any]) -> None:
    place.store.write_json(f"releases/credit/{key}.json", {"version": 1, "since": "later"})

    with pytest.raises(StoreError, match="not as this Nightgate writes it") as refused:
        read(place.store, "credit")

    assert "newer Nightgate" in refused.value.remedy


def test_what_a_newer_version_promoted_is_no_damage_that_the_doctor_mends(place: Settings, monkeypatch: pytest.MonkeyPatch,
                                                                          capsys: pytest.CaptureFixture[str]) -> None:
    changed_json("releases/credit/1/manifest.json")(place)
    monkeypatch.chdir(place.root)

    code, found = said(capsys, "doctor")

    assert code == 1 and not found["findings"][0]["mended"] and "layout 99" in found["findings"][0]["told"]
    pointer = read_pointer(place.store, "credit")
    assert pointer is not None and pointer.version == 1


def test_mlflows_older_tables_are_brought_up_to_date(tmp_path: Path) -> None:
    place = settings_of(tmp_path)
    (tmp_path / ".nightgate").mkdir()
    address = f"sqlite:///{tmp_path}/.nightgate/mlflow.db"
    older(address)

    assert registry.reconcile(place, "credit") == []
    assert revision(address) == revisions(address)[0]


def test_mlflows_newer_tables_are_refused_with_the_command_that_migrates_older_ones(place: Settings) -> None:
    address = f"sqlite:///{place.root}/.nightgate/mlflow.db"
    with create_engine(address).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffffffffffff'"))

    with pytest.raises(StoreError, match="database schema") as refused:
        registry.reconcile(place, "credit")

    assert f"`mlflow db upgrade {address}`" in refused.value.remedy


def revisions(address: str) -> list[str]:
    """Return the versions of MLflow's tables that this MLflow knows, the newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    return [each.revision for each in ScriptDirectory.from_config(_get_alembic_config(address)).walk_revisions()]


def revision(address: str) -> str:
    with create_engine(address).connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def older(address: str) -> None:
    """Make MLflow's tables as they were some versions ago, with MLflow's own migrations."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine, config = create_engine(address), _get_alembic_config(address)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revisions(address)[8])
    engine.dispose()
