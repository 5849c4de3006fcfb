"""Keys: who may ask what, until when and how often."""

import hmac
import json
import stat
import time
from pathlib import Path

import pytest

from nightgate.errors import StoreError, UsageError
from nightgate.serving.access import ADMIN, Access, Key, issue, read_keys, revoke, rotate
from nightgate.settings import Settings
from tests.projects import people, project, run_plainly
from tests.services import running

ROW = {"income": 41.5, "age": 33, "city": "Bern"}


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(tmp_path / "access.json")


def allowed(access: Access, secret: str | None, model: str = "credit", *, now: float = 0.0, clock: float = 0.0) -> str:
    access.follow()
    found = access.allows(secret, model, now=now, clock=clock)
    return found.consumer if isinstance(found, Key) else found


def test_without_keys_everybody_may_ask_and_with_one_nobody_without_it(access: Access) -> None:
    assert allowed(access, None) == "anonymous"
    _, secret = issue(access.path, "shop", ("credit",))

    assert allowed(access, secret) == "shop"
    assert {allowed(access, each) for each in (None, "", "x", "ng_", "ng_a_b", secret + "0", secret[:-1], "é" * 9)} == {"unknown"}
    assert stat.S_IMODE(access.path.stat().st_mode) == 0o600 and secret.split("_")[2] not in access.path.read_text()


def test_a_key_is_for_its_models_and_metrics_for_admins(access: Access) -> None:
    secrets = {name: issue(access.path, name, models)[1] for name, models in (("one", ("credit",)), ("all", ("*",)), ("boss", (ADMIN,)))}

    assert [allowed(access, secrets[name], model) for name in secrets for model in ("credit", "other", ADMIN)] == [
        "one", "scope", "scope", "all", "all", "scope", "boss", "boss", "boss"]


def test_a_key_ends_and_a_clock_that_is_set_back_lets_nobody_ask_more(access: Access) -> None:
    _, secret = issue(access.path, "shop", ("credit",), expires=100.0, rate=2.0)

    assert [allowed(access, secret, now=now, clock=clock) for now, clock in ((99.0, 0.0), (100.0, 1.0), (50.0, 1.0))] == ["shop", "expired", "shop"]
    assert [allowed(access, secret, now=0.0, clock=clock) for clock in (0.5, 0.5, 0.5, 2.0)] == ["shop", "rate", "rate", "shop"]


def test_the_key_before_stays_valid_for_a_while_after_rotation(access: Access) -> None:
    _, old = issue(access.path, "shop", ("credit",))
    _, new = rotate(access.path, "shop", overlap=10.0, now=0.0)

    assert [allowed(access, old, now=9.0), allowed(access, new, now=9.0), allowed(access, old, now=10.0), allowed(access, new, now=1e9)] == [
        "shop", "shop", "expired", "shop"]
    assert revoke(access.path, "shop") == 2 and allowed(access, new) == "unknown"


def test_the_key_after_rotation_is_valid_for_as_long_as_the_one_before_it_was(access: Access) -> None:
    old, _ = issue(access.path, "shop", ("credit",), expires=time.time() + 90)
    new, _ = rotate(access.path, "shop", overlap=0, now=old.created + 80)

    assert old.expires is not None and new.expires == pytest.approx(old.expires + 80)


def test_keys_stay_in_force_when_their_file_vanishes(access: Access) -> None:
    _, secret = issue(access.path, "shop", ("credit",))
    access.follow()
    access.path.unlink()

    with pytest.raises(StoreError, match="stay in force"):
        access.follow()
    assert access.allows(None, "credit", now=0, clock=0) == "unknown" and isinstance(access.allows(secret, "credit", now=0, clock=0), Key)


def test_a_key_is_compared_in_constant_time_and_whole(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of an id which nobody has: how long it takes tells nothing."""
    _, secret = issue(access.path, "shop", ("credit",))
    compared: list[tuple[int, int]] = []
    really = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append((len(one), len(other))) or really(one, other))

    for each in (secret, secret[:-1] + "x", "ng_none_" + "0" * 64, None):
        allowed(access, each)

    assert compared == [(64, 64)] * 4


def test_who_has_a_key_or_none_is_told(access: Access) -> None:
    issue(access.path, "shop", ("credit",))

    for wrong in (lambda: issue(access.path, "shop", ("credit",)), lambda: rotate(access.path, "shap", overlap=0, now=0), lambda: revoke(access.path, "shap")):
        with pytest.raises(UsageError):
            wrong()


def test_a_damaged_file_leaves_the_keys_before_it_in_force(access: Access) -> None:
    _, secret = issue(access.path, "shop", ("credit",))
    assert allowed(access, secret) == "shop"
    access.path.write_text("[{}]")

    with pytest.raises(StoreError):
        access.follow()
    assert isinstance(access.allows(secret, "credit", now=0, clock=0), Key)
    with pytest.raises(StoreError):
        read_keys(access.path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = project(tmp_path_factory.mktemp("keyed"), people(2_000))
    assert run_plainly(made) is not None
    return made


def test_a_service_with_keys_tells_consumers_apart(place: Settings) -> None:
    _, shop = issue(place.access, "shop", ("credit",), rate=2.0)
    _, boss = issue(place.access, "boss", (ADMIN,))
    _, late = issue(place.access, "late", ("credit",), expires=time.time() - 1)
    with running(place, host="0.0.0.0") as (client, _):
        codes = [client.post(ROW)[0], client.post(ROW, authorization=f"Bearer {late}")[0], client.post(ROW, x_api_key=shop)[0],
                 client.post(ROW, "/models/other/predict", authorization=f"Bearer {shop}")[0]]
        client.post(ROW, x_api_key=shop)
        codes += [client.post(ROW, x_api_key=shop)[0], client.ask("GET", "/metrics")[0], client.ask("GET", "/openapi.json")[0]]
        shown = [client.ask("GET", path, headers={"x-api-key": key})[0] for path, key in (("/openapi.json", boss), ("/metrics", shop), ("/metrics", boss))]
        text = client.ask("GET", "/metrics", headers={"x-api-key": boss})[1].decode()
        ready, refused = client.get("/ready"), client.ask("POST", "/models/credit/predict", json.dumps(ROW).encode())

    assert codes == [401, 401, 200, 403, 429, 401, 401] and shown == [200, 403, 200]
    assert 'consumer="shop",code="200"' in text and 'consumer="late"' not in text
    assert "models" not in ready[1] and b"1" not in refused[1]
