"""A run's report and model card, written into the store.

The card is what a person who relies on a model must know (Mitchell et al., Model Cards, FAT* 2019).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightgate.profile import ColumnProfile
from nightgate.records import RunRecord, run_key
from nightgate.reports.document import Document, Facts, Heading, Paragraph, Part, Table
from nightgate.reports.html import drawings, html
from nightgate.reports.markdown import markdown
from nightgate.reports.retraining import report
from nightgate.store import Store
from nightgate.wording import counted, interval


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


def card(record: RunRecord) -> Document:
    """Make the card of a run's challenger."""
    definition = record.definition
    challenger = record.metrics.get("challenger") or {}
    parts: list[Part] = [
        Facts([("Purpose", definition.get("purpose") or "not stated by the owner"),
               ("Owner", definition.get("owner") or "not stated"), ("Task", definition["task"]),
               ("Predicts", definition["target"]), ("Version", str(record.run)), ("As of", record.as_of),
               ("Decision", record.reason)]),
        Heading("Data"), Paragraph(_data(record)),
        Heading("Figures on held-out rows, with 95 % intervals"),
        Table(["Metric", "Figure"], [[name, interval(figure)] for name, figure in challenger.items()], frozenset({"Figure"})),
        Heading("Limits"), *(Paragraph(sentence) for sentence in limits(record)),
        Heading("Lineage"),
        Facts([("Snapshot", str((record.dataset or {}).get("sha256"))), ("Model", str(record.model_sha256)),
               ("Code", record.code), ("Run", record.run_id),
               *((f"Contract {gate.boundary}", gate.sha256) for gate in record.gates)])]
    return Document(f"Model card: {record.model}, version {record.run}", definition.get("purpose") or "", parts)


def limits(record: RunRecord) -> list[str]:
    """Say what the evaluation could not show or showed to be weak."""
    evaluation = record.evaluation
    found = [f"Weakest where {each['column']} is {each['value']}: {each['figure']['value']:.4g} on {each['rows']:,} rows."
             for each in evaluation.get("slices") or [] if each["worst"]]
    small = [f"{each['column']} = {each['value']}" for each in evaluation.get("slices") or [] if each["figure"] is None]
    if small:
        found.append(f"Not evaluated for too few rows: {', '.join(small[:10])}.")
    if not evaluation.get("slices"):
        found.append("No slices are defined: weakness in a part of the rows would not have been seen.")
    if record.definition.get("time") is None:
        found.append("Rows have no event time: how the model ages was not measured.")
    error = evaluation.get("calibration_error")
    if error is not None and error > max(0.05, 2 * _chance(evaluation.get("curves", {}).get("calibration") or [])):
        found.append(f"Probabilities are off by {error:.2g} on average: use them to rank, not as shares.")
    return [*found, *record.warnings]


def _chance(bins: Sequence[Mapping[str, float]]) -> float:
    """Return the calibration error that a perfect model shows by chance: the mean distance of a binomial share from its own."""
    rows = sum(each["rows"] for each in bins)
    return sum(each["rows"] / rows * math.sqrt(2 / math.pi * each["predicted"] * (1 - each["predicted"]) / each["rows"]) for each in bins)


def _data(record: RunRecord) -> str:
    rows = (record.dataset or {}).get("rows", 0)
    held = record.evaluation.get("rows", 0)
    return (f"{counted(rows, 'row')} from {record.definition['source']['data']}; {held:,} of them were held out and used "
            "for nothing but this evaluation.")
