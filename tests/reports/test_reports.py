"""Reports: one document as page, Markdown and terminal text; a page that needs nothing but itself."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nightgate.records import GateNumbers, RunRecord
from nightgate.reports.document import Bars, Callout, Document, Facts, Heading, Paragraph, Plot, Series, Side, Table
from nightgate.reports.html import drawings, html
from nightgate.reports.markdown import markdown
from nightgate.reports.retraining import report, summary
from nightgate.reports.terminal import show
from nightgate.reports.writing import card
from tests.browsers import chromium, shown_by
from tests.projects import people, project, run_plainly

WHOLE = Document("<title>", "sub & title", [
    Heading("a <b> heading"), Paragraph("1 < 2"), Callout("kept", "why", "neutral"), Facts([("name", "<value>")]),
    Table(["x", "n"], [["a|b", "1"], ["c", "2"]], frozenset({"n"}), frozenset({1})),
    Side([Plot("P", "x", "y", [Series("one", [(0, 0), (1, 1)]), Series("two", [(0, 1)], "dots")], "told", diagonal=True),
          Bars("B", ["a", "b"], [1.0, -0.5], "told")])])


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    place = project(tmp_path_factory.mktemp("reported"), people(), extra='\n[evaluation]\nslices = ["city"]\n'
                    '[candidates.logistic]\nestimator = "logistic"\n')
    found = run_plainly(place)
    assert found is not None
    return found


def test_all_parts_have_all_forms(capsys: pytest.CaptureFixture[str]) -> None:
    page, text = html(WHOLE), markdown(WHOLE)
    show(WHOLE)
    terminal = capsys.readouterr().out

    assert "<b> heading" not in page and "a &lt;b&gt; heading" in page and "&lt;value&gt;" in page
    assert "a\\|b" in text and "| **c** | **2** |" in text and "1 &lt; 2" in text
    assert "a <b> heading" in terminal and "█" in terminal
    assert max(map(len, terminal.splitlines())) <= 100


def test_a_report_needs_no_script_and_no_network(record: RunRecord) -> None:
    page = html(report(record))

    assert len(page) < 2_000_000
    assert not re.search(r"<script|<link|src=|url\(|@import|https?://", page)
    assert page.index("becomes the first champion") < page.index("ROC curve") < page.index("Where it came from")


def test_report_and_card_tell_the_same_run(record: RunRecord) -> None:
    texts = [markdown(report(record)), markdown(card(record))]

    for text in texts:
        assert record.reason in text and str(record.model_sha256) in text
    assert "Weakest where city is" in texts[0] and "Weakest where city is" in texts[1]
    assert "becomes the first champion" in markdown(summary(record, None))


def test_a_record_comes_back_from_its_json(record: RunRecord) -> None:
    assert RunRecord.from_json(record.as_json()).as_json() == record.as_json()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_report_without_sideways_scrolling(width: int, record: RunRecord, tmp_path: Path) -> None:
    wide, _ = shown_by(chromium(), html(report(record)), width, tmp_path)

    assert wide <= max(width, 500)


def test_a_run_that_stopped_early_is_told_whole(record: RunRecord) -> None:
    gate = GateNumbers("raw", False, 5, 1, 0, 0.1, "0" * 64, ["`income` is known: 3 of 600 rows against it"])
    stopped = replace(record, verdict="stopped", reason="The raw contract is broken.", champion=None, challenger=None, metrics={},
                      gates=[gate], candidates=[], evaluation={}, decision={}, report=None, model_sha256=None,
                      error={"kind": "ContractBroken", "message": "The raw contract is broken.", "remedy": "Mend the source."})

    for text in (markdown(report(stopped)), markdown(summary(stopped, "http://127.0.0.1:4200"))):
        assert "The raw contract is broken." in text and "Mend the source." in text
    assert "3 of 600 rows against it" in markdown(report(stopped))


def test_what_only_looks_odd_is_told(record: RunRecord) -> None:
    odd = replace(record, warnings=["`age`: looks odd"], champion_before=1, metrics={**record.metrics, "champion": record.metrics["challenger"]},
                  evaluation={**record.evaluation, "unscored": "its release was made by another version", "promised": 0.9})
    unscored = replace(odd, decision={**record.decision, "comparison": None, "rule": "unscored"})

    assert "`age`: looks odd" in markdown(report(odd)) and "another version" in markdown(report(odd))
    assert "A shuffled split would have promised auc 0.9000" in markdown(report(unscored))
    assert "`age`: looks odd" in markdown(summary(odd, None)) and "champion 1" in markdown(summary(odd, None))


def test_charts_stand_alone_as_files_too(record: RunRecord) -> None:
    found = drawings(report(record))

    assert {"ROC curve", "Calibration"} <= found.keys()
    for drawing in found.values():
        assert ElementTree.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"
        assert "--s0:" in drawing
