"""The nightly retraining of one model, from its source to the champion that serves."""

from datetime import date, datetime
from typing import Any

from prefect import flow
from prefect.context import FlowRunContext
from prefect.runtime import deployment, flow_run

from nightgate.nights import night
from nightgate.operations import NIGHT, ON_DEMAND
from nightgate.settings import settings
from tasks.collect import collect
from tasks.conclude import conclude
from tasks.decide import decide
from tasks.engineer import engineer
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.leaks import look_for_leaks
from tasks.policy import skipped_when_not_needed
from tasks.profile import profile
from tasks.promote import promote
from tasks.release import release
from tasks.report import report
from tasks.train import train_all


def due() -> datetime | None:
    """Return when a night was due that the schedule started, or that was caught up; None for a run that somebody started."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    return run.expected_start_time if run is not None and (run.auto_scheduled or NIGHT in run.tags) else None


def started_by() -> str:
    """Say who started a run where nobody gave a reason: a deployment is a model's own night, or the one for other services."""
    return {None: "by hand", ON_DEMAND: "by another service"}.get(deployment.name, "by schedule")


def run_name() -> str:
    """Name a run in the UI: the model, the night, and why it was started where somebody said so."""
    given = flow_run.parameters
    words = [given["model"], f"as of {given['as_of'] or 'today'}", f"because {given['reason']}" if given["reason"] else ""]
    return " ".join(word for word in words if word)


@flow(name="retraining", flow_run_name=run_name)
@skipped_when_not_needed
def retraining(model: str, as_of: date | None = None, reason: str = "", dry_run: bool = False,
               overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """Retrain a model on the data up to a date and return its run record; a broken gate ends it as Failed.

    Args:
        model: The model's name.
        as_of: The night to run, today's when left out: the data end at 00:00 of that date.
        reason: Why, for the record and the run's name.
        dry_run: Decide, and change nothing: no promotion, whatever the decision.
        overrides: Keys of the definition for this run only, such as training.seed = 7.
    """
    place = settings()
    with night(place, model, run_id=flow_run.id, as_of=as_of, overrides=overrides, trigger=reason or started_by(),
               scheduled=due(), dry_run=dry_run) as tonight:
        snapshot = gate(tonight, "raw", collect(tonight))
        table = gate(tonight, "features", engineer(tonight, snapshot))
        look_for_leaks(tonight, table)
        evaluated = evaluate(tonight, snapshot, table, train_all(tonight, table))
        gate(tonight, "predictions", evaluated.predictions)
        gate(tonight, "metrics", evaluated.metrics)
        decision = decide(tonight, evaluated)
        profile(tonight, snapshot, table, evaluated)
        release(tonight, table, evaluated)
        report(tonight, decision)
        if decision.verdict == "promoted":
            promote(tonight, decision)
        return conclude(tonight, decision).as_json()
