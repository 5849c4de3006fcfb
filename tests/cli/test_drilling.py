"""`nightgate drill`: every fault takes the whole way of a night; what passes is told with the rule that would stop it."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nightgate.errors import DataUnusable
from nightgate.settings import Settings
from tests.commands import said
from tests.projects import copied, people, project, rules, run_plainly


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    run_plainly(project(folder))
    return folder


@pytest.fixture
def place(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = copied(ran, tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


def write_rules(place: Settings, kept: list[dict[str, Any]]) -> None:
    path = place.contracts_of("credit") / "raw.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expectations": kept}))


def test_an_inferred_contract_stops_faults_of_every_kind_that_one_night_can_show(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "drill", "credit")

    stopped = {each["kind"] for each in value["faults"] if each["outcome"] != "passed"}
    assert code == 0 and value["added"] == {}
    assert {each["kind"] for each in value["faults"]} - stopped == {"half of the rows gone"}
    assert all(each["by"] and each["boundary"] for each in value["faults"] if each["outcome"] == "stopped")


def test_a_rule_that_was_taken_out_is_proposed_and_written_back(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    write_rules(place, [rule for rule in rules(place) if rule["kwargs"].get("column") != "income"])
    _, before = said(capsys, "drill", "credit")
    passed = [each for each in before["faults"] if each["outcome"] == "passed" and each["columns"] == ["income"]]

    said(capsys, "drill", "credit", "--write")
    _, after = said(capsys, "drill", "credit")

    assert {each["kind"] for each in passed} >= {"missing values", "units × 1000"}
    assert all(each["rule"]["kwargs"]["column"] == "income" for each in passed)
    assert not [each for each in after["faults"] if each["outcome"] == "passed" and each["columns"] == ["income"]]


def test_a_drill_leaves_the_store_as_it_was(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in place.root.rglob("*"))
    said(capsys, "drill", "credit")
    assert sorted(path for path in place.root.rglob("*")) == before


def test_data_that_do_not_pass_themselves_are_not_drilled_with(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    write_rules(place, [{"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 3}}])
    code, value = said(capsys, "drill", "credit")
    assert code == 3 and "does not pass the raw contract" in value["error"]["message"]


def test_a_model_without_a_run_is_told_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, value = said(capsys, "drill", "credit")
    assert code != 0 and "nightgate run credit" in value["error"]["remedy"]


def test_a_stale_copy_is_not_called_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["applied_at"] = pd.date_range("2026-01-01", periods=len(frame), freq="6h")
    place = project(tmp_path, frame, time="applied_at")
    monkeypatch.chdir(tmp_path)
    run_plainly(place, as_of=date(2026, 11, 1))  # an archive: of freshness nothing is known

    def outcome() -> tuple[str, str]:
        stale = next(each for each in said(capsys, "drill", "credit")[1]["faults"] if each["kind"] == "stale copy of yesterday")
        return stale["outcome"], stale["boundary"]

    assert outcome() == ("passed", "")
    definition = place.models / "credit.toml"
    definition.write_text(definition.read_text().replace("[source]", "[source]\nnightly = true"))
    assert outcome() == ("stopped", "collect")
    run_plainly(place, as_of=date(2026, 11, 1))
    with pytest.raises(DataUnusable, match="stale copy"):
        run_plainly(place, as_of=date(2026, 11, 2))


def test_an_entity_that_is_the_same_in_every_row_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    frame = people().assign(customer=[f"C{number:04d}" for number in range(600)],
                            applied_at=pd.date_range("2026-01-01", periods=600, freq="6h"))
    place = project(tmp_path, frame, time="applied_at", entity=("customer",))
    monkeypatch.chdir(tmp_path)
    run_plainly(place, as_of=date(2026, 6, 1))

    faults = said(capsys, "drill", "credit")[1]["faults"]

    assert [each["outcome"] for each in faults if (each["kind"], each["columns"]) == ("constant", ["customer"])] == ["stopped"]
