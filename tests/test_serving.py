"""Serving: the same answers as in training, strict requests, and the pointer is followed."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from nightgate.errors import FileMissing
from nightgate.releases import point, promote
from nightgate.scoring import load_scorer
from nightgate.serving import LARGEST_BODY, MOST_MISTAKES, Served, application
from nightgate.settings import Settings
from tests.projects import people, project, run_plainly

ROW = {"income": 41.5, "age": 33, "city": "Bern"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project with two releases, of which the first serves."""
    made = project(tmp_path_factory.mktemp("served"), people(2_000))
    assert run_plainly(made) is not None and run_plainly(made) is not None
    return made


@pytest.fixture
def client(place: Settings) -> TestClient:
    return TestClient(application(place, ["credit"]))


def post(client: TestClient, body: Any) -> tuple[int, Any]:
    answer = client.post("/models/credit/predict", content=body if isinstance(body, bytes) else json.dumps(body).encode())
    return answer.status_code, answer.json()


def test_rows_are_answered_alone_and_together_and_as_in_training(place: Settings, client: TestClient) -> None:
    code, one = post(client, ROW)
    _, many = post(client, {"rows": [ROW, {**ROW, "city": None}, {**ROW, "city": "never seen", "income": None}, {**ROW, "city": " Bern "}]})
    expected = load_scorer(place, "credit", 1).predict(pd.DataFrame([ROW]))

    assert (code, one["model"], one["version"]) == (200, "credit", 1)
    assert one["predictions"] == [many["predictions"][0]] == [many["predictions"][3]]
    assert one["predictions"][0]["probability"] == pytest.approx(float(expected[0]), abs=1e-12)


@pytest.mark.parametrize(("body", "told"), [
    ({**ROW, "income": "3.5"}, "rows[0].income: found str, needed number"), ({**ROW, "age": True}, "rows[0].age: found bool"),
    ({**ROW, "age": 3.5}, "needed integer"), ({**ROW, "extra": 1}, "rows[0].extra: unknown field"),
    ({"income": 1.0, "age": 3}, "rows[0].city: missing"), ({"rows": []}, "neither one row"), ([1], "neither one row"),
    (b"{", "no JSON"), (b'{"income": NaN}', "NaN is no JSON number"), (b"[" * 50_000, "no JSON"), (b"\xff", "no JSON"),
    ({"rows": [ROW, {**ROW, "age": "x"}]}, "rows[1].age"), ({**ROW, "age": 10**30}, "integer of 64 bits"), (b"1" * 5_000, "no JSON"),
    ({**ROW, "income": 2**60}, "rows[0].income: found int"), ({**ROW, "city": "\ud800"}, "rows[0].city"), ({**ROW, "\ud800": 1}, "unknown"),
    (b'{"age": 1, "age": 2}', "stands twice"), ({"rows": [{}] * 1_000}, "… and more")])
def test_requests_are_strict_and_every_mistake_is_told(body: Any, told: str, client: TestClient) -> None:
    code, answer = post(client, body)

    assert code == 422 and len(answer["error"]["mistakes"]) <= MOST_MISTAKES + 1
    assert any(told in mistake for mistake in answer["error"]["mistakes"])


def test_an_unknown_model_is_not_found_and_a_huge_body_is_refused(client: TestClient) -> None:
    assert client.post("/models/none/predict", json=ROW).status_code == 404
    assert post(client, b" " * (LARGEST_BODY + 1))[0] == 422
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json()["models"] == {"credit": 1}


def test_a_new_pointer_is_followed_and_a_damaged_release_is_refused(place: Settings) -> None:
    served = Served(place, ["credit"])
    before = promote(place.store, "credit", 2, as_of="2026-11-24", why="test")
    damaged = Path(place.store_url) / "releases/credit/2/model.joblib"
    content = damaged.read_bytes()
    try:
        damaged.write_bytes(content[:-1])
        served.follow()
        assert served.versions == {"credit": 1} and "was changed" in served.refused["credit"]
        damaged.write_bytes(content)
        served.follow()
        assert served.versions == {"credit": 2} and not served.refused
    finally:
        damaged.write_bytes(content)
        point(place.store, "credit", before)


def test_a_running_service_follows_the_pointer(place: Settings) -> None:
    with TestClient(application(place, ["credit"])) as client:
        before = promote(place.store, "credit", 2, as_of="2026-11-24", why="test")
        try:
            served = next(version for _ in range(100_000) if (version := post(client, ROW)[1]["version"]) != 1)
        finally:
            point(place.store, "credit", before)

    assert served == 2


def test_nothing_serves_without_a_champion(tmp_path: Path) -> None:
    made = project(tmp_path)

    with pytest.raises(FileMissing, match="champion"):
        application(made, ["credit"])
