"""The model card: what a person who relies on a model must know (Mitchell et al., Model Cards, FAT* 2019)."""

import math
from collections.abc import Mapping, Sequence

from nightgate.records import RunRecord
from nightgate.reports.document import Document, Facts, Heading, Paragraph, Part, Table
from nightgate.wording import interval


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
    return (f"{rows:,} rows from {record.definition['source']['data']}; {held:,} of them were held out and used "
            "for nothing but this evaluation.")
