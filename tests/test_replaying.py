"""A past night is replayed aside, and what differs is named."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from nightgate.doctor import examine
from nightgate.errors import ContractBroken, UsageError
from nightgate.nights import night
from nightgate.records import read_record
from nightgate.releases import champion_of
from nightgate.replaying import replay
from nightgate.settings import Settings
from tests.commands import said
from tests.projects import copied, people, project, run_plainly


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a project of two nights, the second against a champion and with masked cities."""
    folder = tmp_path_factory.mktemp("replayed")
    frame = people(1_200).assign(applied_at=pd.date_range("2026-01-01", "2026-03-01", periods=1_200).floor("s"))
    place = project(folder, frame, time="applied_at", mask=("city",))
    for night_of in (date(2026, 2, 15), date(2026, 2, 25)):
        assert run_plainly(place, as_of=night_of) is not None
    return place


@pytest.fixture
def place(made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    copy = copied(made.root, tmp_path / "project")
    monkeypatch.chdir(copy.root)
    return copy


def test_a_night_comes_out_the_same_whatever_was_changed_since(place: Settings) -> None:
    definition = place.models / "credit.toml"
    definition.write_text(definition.read_text().replace("C = [0.1, 1.0]", "C = [0.5]"))
    (place.contracts_of("credit") / "raw.json").write_text("{}")
    before = sorted(path for path in Path(place.store_url).rglob("*") if path.is_file())

    first, second = replay(place, "credit", 1), replay(place, "credit")

    assert first.same and second.same, (first.differs, second.differs)
    assert second.model_sha256 == read_record(place.store, "credit").model_sha256
    assert sorted(path for path in Path(place.store_url).rglob("*") if path.is_file()) == before


def test_what_differs_is_named(place: Settings) -> None:
    frame = pd.read_csv(place.root / "data.csv")
    frame["income"] += 0.5
    frame.to_csv(place.root / "data.csv", index=False)

    found = replay(place, "credit", 1)

    assert not found.same and {"snapshot", "model"} <= {each.what for each in found.differs}


def test_changed_code_is_named_as_the_cause(place: Settings) -> None:
    (place.models / "credit.py").write_text("x = 1\n")

    assert [each.what for each in replay(place, "credit", 1).changed] == ["code"]


def test_a_stopped_night_stops_again(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(place.root / "data.csv")
    frame.loc[frame["applied_at"] < "2026-02-01", "income"] *= 1_000
    frame.to_csv(place.root / "data.csv", index=False)
    with pytest.raises(ContractBroken):
        run_plainly(place, as_of=date(2026, 2, 25))

    code, value = said(capsys, "replay", "credit", "3")

    assert (code, value["same"], value["run"]) == (0, True, 3)


def test_a_failed_run_cannot_be_replayed(place: Settings) -> None:
    with pytest.raises(RuntimeError), night(place, "credit", run_id="x"):
        raise RuntimeError("the machine")

    with pytest.raises(UsageError, match="is failed"):
        replay(place, "credit")


def test_the_doctor_finds_nothing_where_nothing_is_wrong(place: Settings) -> None:
    assert list(examine(place)) == []


def test_the_doctor_lets_the_version_before_a_damaged_one_serve(place: Settings) -> None:
    from nightgate.releases import promote, versions

    promote(place, "credit", 1, as_of="2026-02-15", why="a test")
    promote(place, "credit", versions(place.store, "credit")[-1], as_of="2026-02-25", why="a test")
    served = champion_of(place, "credit")
    for path in Path(place.store_url, "releases", "credit", str(served)).iterdir():
        if path.name != "manifest.json":
            path.write_bytes(b"damaged")

    found = list(examine(place))

    assert found[0].mended and "Run 1 serves now" in found[0].told and champion_of(place, "credit") == 1


def test_the_doctor_says_what_it_did_and_what_is_left(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    begun = {"champion": 1, "token": "t", "as_of": "2026-02-26", "started": "2026-02-26T02:00:00+00:00", "run_id": "dead", "trigger": ""}
    place.store.write_json("runs/credit/3/notes/begin.json", begun)

    mended = said(capsys, "doctor")
    place.store.write("releases/credit/champion.json", b"{")
    left = said(capsys, "doctor")

    assert (mended[0], [each["mended"] for each in mended[1]["findings"]]) == (0, [True])
    assert read_record(place.store, "credit", 3).verdict == "failed"
    assert (left[0], left[1]["left"]) == (1, 1) and "rollback credit --to" in left[1]["findings"][0]["told"]
