"""Writing a run's report and model card into the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightgate.profile import ColumnProfile
from nightgate.records import RunRecord, run_key
from nightgate.reports.card import card
from nightgate.reports.html import drawings, html
from nightgate.reports.markdown import markdown
from nightgate.reports.retraining import report
from nightgate.store import Store


@dataclass(frozen=True)
class Documents:
    """The texts of a run's documents, where the report's file is, and the charts as SVG by their titles."""

    report_address: str
    report_html: str
    report_markdown: str
    card: str
    drawings: Mapping[str, str]


def write(store: Store, record: RunRecord, columns: Sequence[ColumnProfile]) -> Documents:
    """Write report.html, report.md and card.md into the run's folder."""
    document, key = report(record, columns), run_key(record.model, record.run)
    written = Documents(store.address(f"{key}/report.html"), html(document), markdown(document), markdown(card(record)),
                        drawings(document))
    for name, text in (("report.html", written.report_html), ("report.md", written.report_markdown), ("card.md", written.card)):
        store.write(f"{key}/{name}", text.encode())
    return written
