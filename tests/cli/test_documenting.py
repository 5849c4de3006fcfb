"""`nightgate docs`: the library's own pages and JSON of what the gates of the last runs found."""

from pathlib import Path

import pytest

from nightgate.watching import look
from tests.commands import said
from tests.projects import settings_of, stop_on_new_data


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project whose second run was stopped by a new city."""
    return stop_on_new_data(tmp_path_factory.mktemp("ran")).root


def test_pages_and_results_are_the_librarys_own(ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema

    monkeypatch.chdir(ran)
    code, value = said(capsys, "docs", "credit")
    index = Path(value["page"]).read_text()
    results = [ExpectationSuiteValidationResultSchema().load(each) for each in value["results"]]

    assert code == 0 and value["runs"] == [1, 2] and "run 2" in index and "credit.raw" in index
    assert [each["success"] for each in results] == [True, True, True, True, False]
    pages = [path.read_text() for path in Path(value["page"]).parent.glob("validations/**/*.html")]
    assert len(pages) == 5 and any("Genf" in page for page in pages)
    failed = [each for each in results[-1]["results"] if not each["success"]]
    assert {each["expectation_config"]["kwargs"]["column"] for each in failed} == {"city"}
    assert not any("An unexpected Exception occurred" in page for page in pages)


def test_only_so_many_runs_are_shown(ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ran)
    assert said(capsys, "docs", "credit", "--runs", "1")[1]["runs"] == [2]
    code, value = said(capsys, "docs", "credit", "--runs", "0")
    assert code == 2 and "--runs 0" in value["error"]["message"]


def test_the_drift_contract_of_monitored_nights_is_shown(ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ran)
    night = look(settings_of(ran), "credit").night
    _, value = said(capsys, "docs", "credit", "--runs", "1")
    drift = value["results"][-1]
    pages = [path.read_text() for path in (Path(value["page"]).parent / "validations").rglob(f"night-{night.as_of}.html")]

    assert drift["suite_name"] == "credit.drift" and drift["success"] == night.success
    kinds = [each["expectation_config"]["type"] for each in drift["results"]]
    assert kinds[1:] == ["expect_drift_to_raise_no_alarm", "expect_drift_to_be_decided", "expect_drift_to_be_insignificant"]
    assert len(pages) == 1 and "alarm" in pages[0] and "An unexpected Exception occurred" not in pages[0]
