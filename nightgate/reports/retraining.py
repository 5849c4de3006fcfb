"""The report of one run: the decision first, then what it rests on, then where it all came from; and its summary, one screen."""

from collections.abc import Iterator, Mapping, Sequence

from nightgate import wording
from nightgate.profile import ColumnProfile
from nightgate.records import Interval, RunRecord
from nightgate.reports.document import (
    Bars,
    Callout,
    Document,
    Facts,
    Heading,
    Paragraph,
    Part,
    Plot,
    Series,
    Side,
    Table,
    Tone,
)
from nightgate.wording import interval

TONES: Mapping[str, Tone] = {"promoted": "good", "kept": "neutral", "waiting": "neutral", "rejected": "neutral"}
"""Tone of each verdict; all others are bad."""

MOST_IMPORTANCES = 15


def report(record: RunRecord, profile: Sequence[ColumnProfile] = ()) -> Document:
    """Make the document of a run, however far it came."""
    subtitle = f"Run {record.run} as of {record.as_of}. {record.definition.get('purpose', '')}".strip()
    parts = [part for section in (_decision, _comparison, _curves, _leans, _slices, _candidates, _gates, _data)
             for part in section(record)]
    return Document(f"{record.model}: {record.verdict.replace('_', ' ')}", subtitle,
                    [*parts, *_profile(profile), *_lineage(record)])


def _verdict(record: RunRecord) -> Iterator[Part]:
    yield Callout(record.verdict.replace("_", " "), (record.error or {}).get("message") or record.reason, TONES.get(record.verdict, "bad"))
    if record.error and record.error.get("remedy"):
        yield Paragraph(f"What to do: {record.error['remedy']}")
    for warning in record.warnings:
        yield Paragraph(f"Look at: {warning}")


def _decision(record: RunRecord) -> Iterator[Part]:
    yield from _verdict(record)
    comparison = record.decision.get("comparison")
    if comparison and record.decision["rule"] in ("better", "not_worse"):
        yield Facts([("Gain", interval(Interval(**comparison["gain"]), sign=True)),
                     ("Lower end at tonight's level", f"{comparison['bound']:+.4g} at {comparison['level']:.2%}, one-sided"),
                     ("Rows compared", f"{comparison['rows']:,}")])


def _comparison(record: RunRecord) -> Iterator[Part]:
    challenger = record.metrics.get("challenger")
    if not challenger:
        return
    others = [(who, record.metrics[who] or {}) for who in ("champion", "baseline") if record.metrics.get(who)]
    columns = ["Metric", f"Run {record.run}", *(f"Champion {record.champion_before}" if who == "champion" else "Baseline"
                                                 for who, _ in others)]
    rows = [[name, interval(figure), *(interval(figures[name]) if name in figures else "–" for _, figures in others)]
            for name, figure in challenger.items()]
    yield Heading("On rows that nothing had touched")
    yield Table(columns, rows, frozenset(columns[1:]), frozenset({0}))
    evaluation = record.evaluation
    if evaluation.get("unscored"):
        yield Paragraph(f"The champion could not be compared: {evaluation['unscored']}")
    if evaluation.get("promised") is not None:
        metric = (record.decision.get("comparison") or {}).get("metric") or next(iter(challenger))
        yield Paragraph(f"A shuffled split would have promised {metric} {wording.figure(evaluation['promised'])}; in the order of "
                        f"time it is {wording.figure(challenger[metric].value)}.")


def _curves(record: RunRecord) -> Iterator[Part]:
    curves = record.evaluation.get("curves") or {}
    drawn: list[Plot | Bars | Table] = []
    if "roc" in curves:
        auc = (record.metrics["challenger"] or {})["auc"].value
        drawn.append(Plot("ROC curve", "false positive rate", "true positive rate", [Series("challenger", _pairs(curves["roc"]))],
                          f"Area {auc:.4g}; the dashed line is chance.", diagonal=True, unit=True))
        drawn.append(Plot("Precision and recall", "recall", "precision",
                          [Series("challenger", _pairs(curves["precision_recall"]))], "Precision at every recall.", unit=True))
    if "residuals" in curves:
        drawn.append(Plot("Predicted and true", "predicted", "true", [Series("rows", _pairs(curves["residuals"]), "dots")],
                          "A perfect model stands on the dashed line.", diagonal=True))
        errors = curves["errors"]
        middles = [(low + high) / 2 for low, high in zip(errors["edges"], errors["edges"][1:], strict=False)]
        drawn.append(Plot("Errors", "predicted minus true", "rows",
                          [Series("rows", list(zip(middles, map(float, errors["counts"]), strict=True)))],
                          "How often each error occurs."))
    if curves.get("calibration"):
        points = [(each["predicted"], each["observed"]) for each in curves["calibration"]]
        error = record.evaluation.get("calibration_error") or 0.0
        drawn.append(Plot("Calibration", "predicted probability", "observed share", [Series("tenths of the rows", points)],
                          f"Expected calibration error {error:.3g}.", diagonal=True, unit=True))
    if "confusion" in curves:
        drawn.append(_confusion(record, curves["confusion"]))
    if drawn:
        yield Heading("How it predicts")
        yield Side(drawn)


def _confusion(record: RunRecord, counts: list[list[int]]) -> Table:
    classes = record.evaluation.get("classes") or [str(number) for number in range(len(counts))]
    threshold = record.evaluation.get("threshold")
    corner = f"true \\ predicted (threshold {threshold:.3g})" if threshold is not None else "true \\ predicted"
    columns = [corner, *(f"as {name}" for name in classes)]
    return Table(columns, [[name, *(f"{count:,}" for count in row)] for name, row in zip(classes, counts, strict=True)],
                 frozenset(columns[1:]))


def _leans(record: RunRecord) -> Iterator[Part]:
    found = record.evaluation.get("importances") or []
    if not found:
        return
    shown = found[:MOST_IMPORTANCES]
    rest = f"; {len(found) - len(shown)} further columns matter less" if len(found) > len(shown) else ""
    yield Heading("What it leans on")
    yield Bars("Permutation importance", [each["column"] for each in shown], [each["loss"] for each in shown],
               f"Loss of the metric when a column is shuffled{rest}.")


def _slices(record: RunRecord) -> Iterator[Part]:
    found = record.evaluation.get("slices") or []
    if not found:
        return
    columns = ["Column", "Value", "Rows", "Figure"]
    rows = [[each["column"], each["value"], f"{each['rows']:,}",
             interval(Interval(**each["figure"])) if each["figure"] else "too few rows"] for each in found]
    yield Heading("Slices")
    worst = next((each for each in found if each["worst"]), None)
    if worst:
        yield Paragraph(f"Weakest where {worst['column']} is {worst['value']}.")
    yield Table(columns, rows, frozenset({"Rows", "Figure"}),
                frozenset(number for number, each in enumerate(found) if each["worst"]))


def _candidates(record: RunRecord) -> Iterator[Part]:
    if not record.candidates:
        return
    columns = ["Candidate", "Score over the folds", "Best settings", "Tried", "Seconds"]
    rows = [[each.name, f"{wording.figure(each.score)} ± {each.deviation:.2g}",
             ", ".join(f"{name} = {value}" for name, value in each.settings.items()) or "–",
             str(each.tried), f"{each.seconds:.1f}"] for each in record.candidates]
    yield Heading("Candidates")
    yield Table(columns, rows, frozenset({"Score over the folds", "Tried", "Seconds"}),
                frozenset(number for number, each in enumerate(record.candidates) if each.chosen))


def _gates(record: RunRecord) -> Iterator[Part]:
    if not record.gates:
        return
    columns = ["Boundary", "Verdict", "Checks", "Failed", "Set aside", "Seconds"]
    rows = [[gate.boundary, "passed" if gate.success else "stopped", str(gate.checks), str(gate.failed),
             f"{gate.quarantined:,}", f"{gate.seconds:.2f}"] for gate in record.gates]
    yield Heading("Gates")
    yield Table(columns, rows, frozenset(columns[2:]),
                frozenset(number for number, gate in enumerate(record.gates) if not gate.success))
    for gate in record.gates:
        for sentence in gate.broken:
            yield Paragraph(f"{gate.boundary}: {sentence}")


def _data(record: RunRecord) -> Iterator[Part]:
    if not record.dataset:
        return
    collected = record.collected
    told = [("Rows", f"{record.dataset['rows']:,}"), ("Columns", str(len(record.dataset["columns"])))]
    told += [(name.capitalize(), f"{collected[name]:,}") for name in ("read", "duplicates", "late")
             if isinstance(collected.get(name), int)]
    told += [("Window", f"{collected.get('start') or 'the beginning'} to {collected.get('end')}, exclusive")]
    yield Heading("Data")
    yield Facts(told)


def _profile(profile: Sequence[ColumnProfile]) -> Iterator[Part]:
    if not profile:
        return
    columns = ["Column", "Missing", "Distinct", "Least", "Mean", "Most"]
    rows = [[each.name, f"{each.missing / max(each.rows, 1):.1%}", f"{'' if each.exact else 'about '}{each.distinct:,}",
             _short(each.least), _short(each.mean), _short(each.most)] for each in profile]
    yield Table(columns, rows, frozenset(columns[1:]))


def _lineage(record: RunRecord) -> Iterator[Part]:
    dataset = record.dataset or {}
    told = [("Run", f"{record.run}, {record.run_id}"), ("Trigger", record.trigger or "–"),
            ("Snapshot", f"{dataset.get('sha256', '–')}"), ("Model", record.model_sha256 or "–"),
            *((f"Contract {gate.boundary}", gate.sha256) for gate in record.gates), ("Code", record.code),
            ("Versions", ", ".join(f"{name} {number}" for name, number in record.versions.items())),
            ("Owner", str(record.definition.get("owner") or "–")), ("Started", record.started)]
    if record.lag is not None:
        told.append(("Began", f"{record.lag:,.0f} s after it was due"))
    if record.cost:
        told.append(("Cost", f"{record.cost['wall_seconds']:,.0f} s, {record.cost['cpu_seconds']:,.0f} s of processors, "
                     f"{record.cost['peak_bytes'] / 2**20:,.0f} MiB at most, {record.cost['stored_bytes'] / 2**20:,.1f} MiB stored"))
    if record.overrides:
        told.append(("Overrides", ", ".join(f"{key}={value}" for key, value in record.overrides.items())))
    yield Heading("Where it came from")
    yield Facts(told)
    if record.seconds:
        names, seconds = list(record.seconds), [float(value) for value in record.seconds.values()]
        yield Heading("Time")
        yield Bars("Seconds by stage", names, seconds, f"{sum(seconds):.1f} s until then.")


def summary(record: RunRecord, ui: str | None) -> Document:
    """Make the summary of a run."""
    return Document("", "", [*_tried(record), *_figures(record), *_verdict(record), *_links(record, ui)])


def _tried(record: RunRecord) -> Iterator[Part]:
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


def _links(record: RunRecord, ui: str | None) -> Iterator[Part]:
    told = [("serves now", "nothing yet" if record.champion is None else f"run {record.champion}")]
    if record.report:
        told.append(("report", record.report))
    told.append(("history", f"{ui}/runs/flow-run/{record.run_id}" if ui else "`nightgate up` shows it"))
    yield Facts(told)


def _pairs(points: list[list[float]]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _short(value: object) -> str:
    if value is None:
        return "–"
    return wording.figure(value) if isinstance(value, int | float) else str(value)[:19]
