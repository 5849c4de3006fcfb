"""What Prometheus reads of an installation: the state of every model as gauges, in its text format."""

from collections.abc import Iterator
from datetime import UTC, datetime

from nightgate import episodes
from nightgate.definition.loading import model_names
from nightgate.episodes import Watched
from nightgate.records import RunRecord, history
from nightgate.releases import champion_of
from nightgate.runs import holder_of
from nightgate.serving.metrics import Sample, family
from nightgate.settings import Settings

VERDICTS = ("promoted", "kept", "stopped", "waiting", "rejected", "rolled_back", "failed")
HELP = {
    "nightgate_champion_version": "Run that serves, 0 when none does.",
    "nightgate_champion_age_seconds": "Time since the champion was trained.",
    "nightgate_running": "1 while a run holds the model.",
    "nightgate_runs": "Runs on record by verdict.",
    "nightgate_last_run": "Number of the last run.",
    "nightgate_last_run_finished_timestamp_seconds": "When the last run ended.",
    "nightgate_last_run_wall_seconds": "How long the last run took.",
    "nightgate_last_run_cpu_seconds": "Processor seconds of the last run.",
    "nightgate_last_run_peak_bytes": "Largest memory of the last run.",
    "nightgate_last_run_lag_seconds": "By how much the last night began later than it was due.",
    "nightgate_last_run_rows": "Rows of the last run's snapshot.",
    "nightgate_gate_checks_failed": "Checks that failed at the last run's gates.",
    "nightgate_gate_rows_quarantined": "Rows that the last run's gates set aside.",
    "nightgate_drift_night_timestamp_seconds": "The date of the last monitored night.",
    "nightgate_drift_rows": "Rows that the last monitored window had.",
    "nightgate_drift_distance": "Distance of a column to what training saw, in the last monitored window.",
    "nightgate_drift_limit": "Distance beyond which that column raises an alarm.",
    "nightgate_drift_alarm": "1 while a column raises an alarm.",
    "nightgate_performance": "The model's metric: promised at training, estimated without labels, realised with labels.",
}


def metrics(settings: Settings) -> str:
    """Return the gauges of all models."""
    found: dict[str, list[Sample]] = {}
    for model in model_names(settings.models):
        for name, labels, value in _of_model(settings, model):
            found.setdefault(name, []).append(("", {"model": model, **labels}, value))
    return "".join(family(name, told, "gauge", found[name]) for name, told in HELP.items() if name in found)


def _of_model(settings: Settings, model: str) -> Iterator[tuple[str, dict[str, str], float]]:
    records = history(settings.store, model)
    champion = champion_of(settings, model)
    yield "nightgate_champion_version", {}, champion or 0
    yield "nightgate_running", {}, float(holder_of(settings.registry, model) is not None)
    for verdict in VERDICTS:
        yield "nightgate_runs", {"verdict": verdict}, sum(record.verdict == verdict for record in records)
    serving = next((record for record in records if record.run == champion), None)
    if serving is not None:
        yield "nightgate_champion_age_seconds", {}, max(
            0.0, (datetime.now(UTC) - datetime.fromisoformat(serving.started)).total_seconds())
    if records and records[-1].finished:
        yield from _of_last(records[-1])
    if nights := episodes.read(settings.store, model):
        yield from _of_night(nights[-1])


def _of_last(last: RunRecord) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "nightgate_last_run", {}, last.run
    yield "nightgate_last_run_finished_timestamp_seconds", {}, datetime.fromisoformat(last.finished).timestamp()
    for name in ("wall_seconds", "cpu_seconds", "peak_bytes"):
        if name in last.cost:
            yield f"nightgate_last_run_{name}", {}, last.cost[name]
    if last.lag is not None:
        yield "nightgate_last_run_lag_seconds", {}, last.lag
    if last.dataset is not None:
        yield "nightgate_last_run_rows", {}, last.dataset["rows"]
    for gate in last.gates:
        yield "nightgate_gate_checks_failed", {"boundary": gate.boundary}, gate.failed
        yield "nightgate_gate_rows_quarantined", {"boundary": gate.boundary}, gate.quarantined


def _of_night(last: Watched) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "nightgate_drift_night_timestamp_seconds", {}, datetime.fromisoformat(last.as_of).replace(tzinfo=UTC).timestamp()
    yield "nightgate_drift_rows", {}, last.rows
    for column, found in last.columns.items():
        for name in ("distance", "limit"):
            yield f"nightgate_drift_{name}", {"column": column}, found[name]
        yield "nightgate_drift_alarm", {"column": column}, float(found["verdict"] == "alarm")
    for name in ("promised", "estimated", "realised"):
        if (told := last.performance.get(name)) is not None:
            value = told if isinstance(told, int | float) else told["value"]
            yield "nightgate_performance", {"metric": last.performance["metric"], "kind": name}, value
