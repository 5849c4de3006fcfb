"""Hot reload, canary, shadow and refusal: what serves follows the pointer, and nothing that is wrong ever serves."""

import json
import logging
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightgate.errors import NotVerified, UsageError
from nightgate.predictionlog import predictions
from nightgate.releases import Pointer, point, promote, read_pointer, read_release, sign_releases, verify
from nightgate.serving.following import Following, begin_trial, end_trial
from nightgate.serving.live import Live
from nightgate.serving.trials import compared
from nightgate.settings import Settings
from nightgate.signing import new_keys
from tests.commands import said
from tests.projects import copied, run_plainly
from tests.services import Client, process, running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}


@pytest.fixture
def place(two_releases: Settings, tmp_path: Path) -> Settings:
    return copied(two_releases.root, tmp_path / "project")


def serve(place: Settings, version: int) -> None:
    promote(place, "credit", version, as_of="2026-11-24", why="test")


def asked_until(client: Client, version: int) -> int:
    """Ask until a version answers; every answer on the way must be good."""
    for _ in range(100_000):
        code, answer = client.post(ROW)
        assert code == 200
        if answer["version"] == version:
            return version
    return -1


def test_a_new_pointer_is_followed_without_a_failed_or_mixed_up_request(place: Settings) -> None:
    """Two clients ask all the while, on two processes; each answer is the one of the version that it names."""
    first, second = (read_release(place, "credit", version) for version in (1, 2))
    assert first.manifest.model_sha256 == second.manifest.model_sha256  # the same data: the answers are equal, the versions not
    wrong: list[Any] = []
    done = threading.Event()

    with process(place.root, "--workers", "2") as (port, _):
        expected = Client(port).post(ROW)[1]["predictions"]

        def ask() -> None:
            client = Client(port)
            while not done.is_set():
                code, answer = client.post(ROW)
                if code != 200 or answer["version"] not in (1, 2) or answer["predictions"] != expected:
                    wrong.append((code, answer))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for version in (2, 1, 2, 1):
                serve(place, version)
                assert asked_until(Client(port), version) == version
        finally:
            done.set()
            for thread in threads:
                thread.join()

    assert not wrong


def test_a_rollback_takes_effect_on_all_processes(place: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    serve(place, 2)
    monkeypatch.chdir(place.root)
    with process(place.root, "--workers", "3") as (port, _):
        clients: dict[str, Client] = {}  # one of each process: an answer's id begins with its process's own
        while len(clients) < 3:
            client = Client(port)
            clients.setdefault(client.post(ROW)[1]["request_id"][:16], client)
        before = {client.post(ROW)[1]["version"] for client in clients.values()}
        assert said(capsys, "rollback", "credit")[1]["champion"] == 1
        after = {asked_until(client, 1) for client in clients.values()}

    assert (before, after) == ({2}, {1})


def damage_scorer(place: Settings) -> None:
    path = Path(place.store_url) / "releases/credit/2/scorer.json"
    path.write_bytes(path.read_bytes().replace(b'"intercept": [', b'"intercept": [1.5, ', 1))


def edit_manifest(place: Settings) -> None:
    path = Path(place.store_url) / "releases/credit/2/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.001}))


def half_written(place: Settings) -> None:
    (Path(place.store_url) / "releases/credit/2/scorer.npz").unlink()


def nowhere(place: Settings) -> None:
    shutil.rmtree(Path(place.store_url) / "releases/credit/2")


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno >= logging.WARNING for record in caplog.records)


@pytest.mark.parametrize("change", [damage_scorer, edit_manifest, half_written, nowhere])
def test_a_release_that_is_wrong_is_refused_once_and_the_old_one_keeps_serving(change: Any, place: Settings, caplog: pytest.LogCaptureFixture) -> None:
    following = Following(place, ["credit"])
    following.follow(0.0)
    pointer = read_pointer(place.store, "credit")
    assert pointer is not None
    serve(place, 2)
    change(place)

    following.follow(1.0)
    following.follow(1.5)
    before = warnings(caplog)
    following.follow(60.0)

    assert following.champions["credit"].version == 1 and ("credit", "champion") in following.refused
    assert before == warnings(caplog) == 1
    point(place.store, "credit", pointer)
    following.follow(61.0)
    assert not following.refused and following.champions["credit"].version == 1


def test_a_pointer_that_cannot_be_read_is_told_once_a_change(place: Settings, caplog: pytest.LogCaptureFixture) -> None:
    following = Following(place, ["credit"])
    pointer = read_pointer(place.store, "credit")
    following.follow()

    for count, content in enumerate((b"{", b'{"version": 9}', None, b"{"), start=1):
        if content is None:
            point(place.store, "credit", pointer)
        else:
            place.store.write("releases/credit/champion.json", content)
        for _ in range(5):
            following.follow()
        assert warnings(caplog) == min(count, 2) + (count == 4) and following.champions["credit"].version == 1
        assert (("credit", "pointer") in following.refused) == (content is not None)


def test_what_is_mended_serves_after_a_while(place: Settings) -> None:
    following = Following(place, ["credit"])
    following.follow(0.0)
    serve(place, 2)
    path = Path(place.store_url) / "releases/credit/2/scorer.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    following.follow(1.0)
    path.write_bytes(content)

    following.follow(1.5)
    assert following.champions["credit"].version == 1
    following.follow(2.5)
    assert following.champions["credit"].version == 2


def test_what_serves_no_more_is_closed_at_the_look_after(place: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that falls back has a process of its own, which would stay."""
    closed: list[int] = []
    monkeypatch.setattr(Live, "close", lambda self: closed.append(self.version))
    begin_trial(place, "credit", version=2, mode="canary", share=50, since="")
    following = Following(place, ["credit"])
    following.follow()

    end_trial(place.store, "credit")
    following.follow()
    point(place.store, "credit", None)
    following.follow()
    following.follow()

    assert closed == [2, 1]


def test_a_damaged_pointer_changes_nothing_and_a_removed_one_ends_serving(place: Settings) -> None:
    following = Following(place)
    following.follow()
    path = Path(place.store_url) / "releases/credit/champion.json"
    content = path.read_text()

    path.write_text("{")
    following.follow()
    assert following.champions["credit"].version == 1
    path.write_text(content)
    point(place.store, "credit", None)
    following.follow()
    assert not following.champions


def test_wrong_probes_are_refused_even_where_every_hash_is_right(place: Settings) -> None:
    """As on a machine whose library says something else."""
    import hashlib

    folder = Path(place.store_url) / "releases/credit/2"
    probes = json.loads((folder / "probes.json").read_text())
    probes["expected"][0] += 1e-6
    (folder / "probes.json").write_text(json.dumps(probes))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["probes.json"] = hashlib.sha256((folder / "probes.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(NotVerified, match="probes differently"):
        serve(place, 2)
    assert read_pointer(place.store, "credit") is not None and read_pointer(place.store, "credit").version == 1  # type: ignore[union-attr]


def test_signatures_are_demanded_where_there_is_a_public_key(place: Settings) -> None:
    new_keys(place)
    with pytest.raises(UsageError, match="already"):
        new_keys(place)
    with pytest.raises(NotVerified, match="not signed"):
        verify(place, "credit", 1)
    assert sign_releases(place) == 2
    assert run_plainly(place) is not None
    verify(place, "credit", 3)
    path = Path(place.store_url) / "releases/credit/3/manifest.sig"

    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(NotVerified, match="by the key"):
        verify(place, "credit", 3)
    assert oct(place.signing_key.stat().st_mode)[-3:] == "600"


def test_a_canary_answers_its_share_and_is_compared(place: Settings) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    trial = begin_trial(place, "credit", version=None, mode="canary", share=50, since=since)
    with running(place) as (client, service):
        versions = [client.post(ROW)[1]["version"] for _ in range(200)]
        end_trial(place.store, "credit")
        service.follow()
        after = {client.post(ROW)[1]["version"] for _ in range(50)}
    found = compared(place, "credit", trial)

    assert trial.version == 2 and 50 < versions.count(2) < 150 and after == {1}
    assert [(each.role, each.version, each.requests) for each in found.sides] == [
        ("champion", 1, versions.count(1) + 50), ("canary", 2, versions.count(2))]


def test_a_shadow_answers_nobody_and_everything(place: Settings) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    trial = begin_trial(place, "credit", version=2, mode="shadow", share=100, since=since)
    with running(place) as (client, _):
        versions = {client.post({"rows": [ROW, ROW]})[1]["version"] for _ in range(20)}
    found = compared(place, "credit", trial)

    assert versions == {1} and found.agreed == 1.0 and [each.rows for each in found.sides] == [40, 40]
    assert len(predictions(place, "credit", start=datetime.fromisoformat(since), end=datetime(9000, 1, 1))) == 80


@pytest.mark.parametrize(("version", "share"), [(1, 10), (None, 0), (None, 101)])
def test_a_trial_that_makes_no_sense_is_refused(version: int | None, share: float, place: Settings) -> None:
    with pytest.raises(UsageError):
        begin_trial(place, "credit", version=version, mode="canary", share=share, since="")


def test_pointers_of_another_manifest_are_not_believed(place: Settings) -> None:
    point(place.store, "credit", Pointer(2, "0" * 64, 1, "2026-11-24", "by somebody"))

    following = Following(place, ["credit"])
    following.follow()

    assert not following.champions and "not the one that was promoted" in following.refused["credit", "champion"].told
