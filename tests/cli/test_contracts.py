"""`nightgate contract`: just the rules that failed are widened, with who said so and why; the versions are told."""

import html
import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from nightgate.errors import ContractBroken
from nightgate.records import read_record
from nightgate.settings import Settings
from tests.commands import said, shown
from tests.projects import copied, edit_contract, people, project, rules, run_plainly, stop_on_new_data


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project whose second run was stopped by a new city and by higher incomes."""
    return stop_on_new_data(tmp_path_factory.mktemp("stopped"), more_income=60).root


@pytest.fixture
def place(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = copied(stopped, tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


def test_what_was_accepted_passes_the_next_night(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = rules(place)

    code, value = said(capsys, "contract", "accept", "credit", "2", "--reason", "a branch in Geneva")
    changed = [number for number, (old, new) in enumerate(zip(before, rules(place), strict=True)) if old["kwargs"] != new["kwargs"]]
    record = run_plainly(place)

    assert code == 0 and value["then"].startswith("nightgate run credit --as-of ")
    assert [each["place"] for each in value["changes"]] == [f"expectations[{number}]" for number in changed]
    assert record is not None and record.verdict in ("promoted", "kept")


def test_what_is_left_can_be_accepted_later(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    path = place.contracts_of("credit") / "raw.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2) + "\n")
    untouched = path.read_text().splitlines()

    _, first = said(capsys, "contract", "accept", "credit", "2", "income", "--reason", "a raise")
    kept = set(untouched) & set(path.read_text().splitlines())
    _, rest = said(capsys, "contract", "accept", "credit", "2", "--reason", "a branch in Geneva")
    code, value = said(capsys, "contract", "accept", "credit", "2", "--reason", "again")

    assert first["changes"] and rest["changes"] and not {each["place"] for each in first["changes"]} & {each["place"] for each in rest["changes"]}
    assert len(kept) > 0.8 * len(set(untouched))
    assert code == 2 and "accepted already" in value["error"]["message"]
    assert any(rule["notes"].endswith("Widened by what run 2 saw.") for rule in rules(place))


def test_a_bound_that_counts_from_the_night_is_widened_and_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    frame = people().assign(applied_at=pd.date_range("2026-01-01", "2026-03-31 23:00", periods=600).floor("s"))
    place = project(tmp_path / "project", frame, time="applied_at")
    edit_contract(place, "raw", {"type": "expect_column_max_to_be_between",
                                 "kwargs": {"column": "applied_at", "min_value": {"$PARAMETER": "now() - timedelta(days=2)"}}})
    monkeypatch.chdir(place.root)
    with pytest.raises(ContractBroken):
        run_plainly(place, as_of=date(2026, 4, 11))

    said(capsys, "contract", "accept", "credit", "1", "applied_at", "--reason", "a holiday")

    assert rules(place)[0]["kwargs"]["min_value"] == {"$PARAMETER": "now() - timedelta(days=11)"}
    assert (record := run_plainly(place, as_of=date(2026, 4, 11))) is not None and record.verdict == "promoted"
    with pytest.raises(ContractBroken):
        run_plainly(place, as_of=date(2026, 4, 13))


def test_accepting_runs_the_night_again_where_that_is_wanted(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = said(capsys, "contract", "accept", "credit", "2", "--reason", "a branch in Geneva", "--again")

    assert code == 0 and record["run"] == 3 and record["verdict"] in ("promoted", "kept")
    assert "a branch in Geneva" in record["trigger"]


def test_only_the_chosen_rules_are_widened(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    _, value = said(capsys, "contract", "accept", "credit", "2", "city", "--reason", "a branch in Geneva")

    accepted = [rule["meta"]["nightgate"]["accepted"] for rule in rules(place) if "accepted" in rule["meta"].get("nightgate", {})]
    assert {rules(place)[int(each["place"][13:-1])]["kwargs"]["column"] for each in value["changes"]} == {"city"}
    assert [each[0]["why"] for each in accepted] == ["a branch in Geneva"] * len(value["changes"])
    assert all(each[0]["run"] == 2 and each[0]["by"] and each[0]["at"] for each in accepted)


def test_versions_and_what_was_accepted_are_told(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    unchanged = said(capsys, "contract", "diff", "credit", "2")[1]["changed"]
    said(capsys, "contract", "accept", "credit", "2", "city", "--reason", "a branch in Geneva")

    _, value = said(capsys, "contract", "history", "credit")

    assert unchanged == {}
    assert "Genf" in said(capsys, "contract", "diff", "credit", "2")[1]["changed"]["raw"]
    assert {each["why"] for each in value["accepted"]} == {"a branch in Geneva"}
    assert {each["boundary"]: each["runs"] for each in value["versions"]}["raw"] == [1, 2]


@pytest.mark.parametrize(("words", "told"), [
    (("2",), "--reason is needed"), (("1", "--reason", "x"), "was not stopped"), (("2", "age", "--reason", "x"), "no check that failed")])
def test_what_cannot_be_accepted_is_said(place: Settings, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, value = said(capsys, "contract", "accept", "credit", *words)

    assert code == 2 and told in value["error"]["message"]


def test_a_missing_column_cannot_be_accepted(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    edit_contract(place, "raw", {"type": "expect_column_to_exist", "kwargs": {"column": "branch"}})
    with pytest.raises(ContractBroken):
        run_plainly(place)
    before = rules(place)

    code, value = said(capsys, "contract", "accept", "credit", "3", "--reason", "x")

    assert code == 2 and "cannot be widened" in value["error"]["message"] and rules(place) == before


def test_a_contract_is_learnt_from_the_nights_that_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    place = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        people(seed=seed).to_csv(tmp_path / "data.csv", index=False)
        code, value = said(capsys, "contract", "learn", "credit")
        assert code == 2 and "at least 3 nights" in value["error"]["message"]
        run_plainly(place)

    code, value = said(capsys, "contract", "learn", "credit")

    assert code == 0 and value["runs"] == [1, 2, 3]
    assert rules(place)[0]["kwargs"] == {"min_value": 400, "max_value": 900}
    assert (record := run_plainly(place)) is not None and record.verdict in ("promoted", "kept")


def test_nights_teach_how_old_the_newest_row_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["applied_at"] = pd.date_range("2026-01-01", periods=len(frame), freq="6h")
    place = project(tmp_path, frame, time="applied_at")
    monkeypatch.chdir(tmp_path)
    for day in (20, 21, 22):
        run_plainly(place, as_of=date(2026, 5, day))

    said(capsys, "contract", "learn", "credit")

    fresh = next(rule for rule in rules(place) if rule["type"] == "expect_column_max_to_be_between")
    assert fresh["kwargs"] == {"column": "applied_at", "min_value": {"$PARAMETER": "now() - timedelta(hours=9)"}}
    assert run_plainly(place, as_of=date(2026, 5, 23)) is not None
    with pytest.raises(ContractBroken, match="newest row|applied_at"):
        run_plainly(place, as_of=date(2026, 6, 15))


def test_a_broken_contract_says_since_when(place: Settings) -> None:
    told = json.loads((Path(place.store_url) / "runs/credit/2/record.json").read_text())["error"]["message"]
    with pytest.raises(ContractBroken) as again:
        run_plainly(place)

    assert told.endswith("; broken since this run, 2.") and "Kept in run 1, as of " in told
    assert "Kept in run 1, as of " in again.value.message and "; broken since run 2, as of " in again.value.message


def test_a_broken_contract_is_told_in_the_same_words_everywhere(place: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_record(place.store, "credit", 2)
    lines = [line.strip().removeprefix("• ").rstrip(".") for line in (record.error or {})["message"].splitlines()]
    report = Path(str(record.report)).read_text()

    _, shown_as_json = said(capsys, "show", "credit", "2")

    screen = " ".join(shown(capsys, "show", "credit", "2").replace("│", " ").split())

    assert "such as " in " ".join(lines) and lines[-1].startswith("Kept in run 1")
    for line in lines:
        assert line in shown_as_json["reason"] and line in html.unescape(report)
        assert " ".join(line.split()) in screen


def test_a_date_that_was_run_out_of_time_teaches_nothing_of_freshness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    frame = people()
    frame["applied_at"] = pd.date_range("2026-01-01", periods=len(frame), freq="6h")
    place = project(tmp_path, frame, time="applied_at")
    monkeypatch.chdir(tmp_path)
    for day in (date(2026, 5, 20), date(2026, 5, 21), date(2026, 5, 22), date(2026, 7, 20)):
        write_contract = json.loads((place.contracts_of("credit") / "raw.json").read_text())
        write_contract["expectations"] = [rule for rule in write_contract["expectations"] if rule["type"] != "expect_column_max_to_be_between"]
        (place.contracts_of("credit") / "raw.json").write_text(json.dumps(write_contract))
        run_plainly(place, as_of=day)

    said(capsys, "contract", "learn", "credit")

    fresh = next(rule for rule in rules(place) if rule["type"] == "expect_column_max_to_be_between")
    assert fresh["kwargs"]["min_value"] == {"$PARAMETER": "now() - timedelta(hours=9)"}
