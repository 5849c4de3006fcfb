"""`check` warns of rules that nearly fail every night and of rules that were never near it."""

import json
from pathlib import Path

import pytest

from nightgate.checking import warnings
from nightgate.contracts.sentences import sentence
from nightgate.contracts.suites import read_suite
from nightgate.contracts.writing import as_text
from nightgate.settings import Settings
from tests.commands import said
from tests.making import project


def nights(place: Settings, shares: list[float], *, mostly: float) -> None:
    """Write a contract of one rule, and runs in whose notes so much of the rows was against it."""
    path = place.contracts_of("credit") / "raw.json"
    path.parent.mkdir(parents=True)
    rule = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x", "mostly": mostly}}
    path.write_text(as_text({"name": "credit.raw", "expectations": [rule], "meta": {}}))
    words = sentence(read_suite(path).checks[0])
    for number, share in enumerate(shares, 1):
        folder = f"runs/credit/{number}"
        place.store.write_json(f"{folder}/record.json", {})
        place.store.write_json(f"{folder}/notes/gate-raw.json", {"result": {"results": [{"sentence": words, "share": share, "error": ""}]}})


@pytest.mark.parametrize(("shares", "mostly", "told"), [
    ([0.045] * 10, 0.95, "nearly fails every night"), ([0.045] * 9, 0.95, ""), ([0.045] * 6 + [0.0] * 6, 0.95, ""),
    ([0.001] * 30, 0.9, "was never near failing"), ([0.001] * 29, 0.9, ""), ([0.001] * 29 + [0.08], 0.9, ""), ([0.0] * 30, 0.99, "")])
def test_rules_are_judged_by_their_nights(shares: list[float], mostly: float, told: str, tmp_path: Path) -> None:
    place = project(tmp_path)
    nights(place, shares, mostly=mostly)
    found = [*warnings(place, "credit")]
    assert len(found) == bool(told) and (not told or told in found[0])


def test_check_shows_the_warnings_and_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.projects import project as whole_project

    place = whole_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = place.contracts_of("credit") / "raw.json"
    words = next(sentence(each) for each in read_suite(path).checks if each.mostly < 1)
    for number in range(1, 11):
        place.store.write_json(f"runs/credit/{number}/record.json", {})
        place.store.write_json(f"runs/credit/{number}/notes/gate-raw.json",
                               {"result": {"results": [{"sentence": words, "share": 0.5, "error": ""}]}})
    code, value = said(capsys, "check", "credit")
    assert code == 0 and "nearly fails every night" in json.dumps(value["files"][0]["warnings"])
