"""What a person sees of a run in the terminal: one screen."""

from collections.abc import Iterator

from nightgate import wording
from nightgate.records import Interval, RunRecord
from nightgate.reports.document import Callout, Document, Facts, Paragraph, Part, Table
from nightgate.reports.retraining import TONES, interval


def summary(record: RunRecord, ui: str | None) -> Document:
    """Make the summary of a run."""
    return Document("", "", [*_candidates(record), *_figures(record), *_decision(record), *_links(record, ui)])


def _candidates(record: RunRecord) -> Iterator[Part]:
    if record.candidates:
        rows = [[each.name, f"{wording.figure(each.score)} ± {each.deviation:.2g}", f"{each.tried}",
                 "chosen" if each.chosen else ""] for each in record.candidates]
        yield Table(["candidate", "score over folds", "settings tried", ""], rows, frozenset({"score over folds", "settings tried"}),
                    frozenset(number for number, each in enumerate(record.candidates) if each.chosen))


def _figures(record: RunRecord) -> Iterator[Part]:
    challenger = record.metrics.get("challenger")
    comparison = record.decision.get("comparison")
    if not challenger or not comparison:
        return
    metric = comparison["metric"]
    champion = (record.metrics.get("champion") or {}).get(metric)
    baseline = (record.metrics.get("baseline") or {}).get(metric)
    told = [(f"run {record.run}", f"{metric} {interval(challenger[metric])}")]
    if champion:
        told.append((f"champion {record.champion_before}", f"{metric} {interval(champion)}"))
    elif baseline:
        told.append(("trivial baseline", f"{metric} {interval(baseline)}"))
    told.append(("gain", interval(Interval(**comparison["gain"]), sign=True)))
    yield Facts(told)


def _decision(record: RunRecord) -> Iterator[Part]:
    yield Callout(record.verdict.replace("_", " "), (record.error or {}).get("message") or record.reason,
                  TONES.get(record.verdict, "bad"))
    if record.error and record.error.get("remedy"):
        yield Paragraph(str(record.error["remedy"]))
    for warning in record.warnings:
        yield Paragraph(f"Look at: {warning}")


def _links(record: RunRecord, ui: str | None) -> Iterator[Part]:
    told = [("serves now", "nothing yet" if record.champion is None else f"run {record.champion}")]
    if record.report:
        told.append(("report", record.report))
    told.append(("history", f"{ui}/runs/flow-run/{record.run_id}" if ui else "`nightgate up` shows it"))
    yield Facts(told)
