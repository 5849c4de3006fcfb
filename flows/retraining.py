"""The nightly retraining of one model, from its source to the champion that serves."""

from datetime import date
from typing import Any

from prefect import flow
from prefect.runtime import deployment, flow_run

from nightgate.nights import night
from nightgate.operations import ON_DEMAND
from nightgate.settings import settings
from tasks.collect import collect
from tasks.conclude import conclude
from tasks.decide import decide
from tasks.engineer import engineer
from tasks.evaluate import evaluate
from tasks.gate import gate
from tasks.leaks import look_for_leaks
from tasks.profile import profile
from tasks.promote import promote
from tasks.release import release
from tasks.report import report
from tasks.train import candidates, train


def started_by() -> str:
    """Say who started a run where nobody gave a reason: a deployment is a model's own night, or the one for other services."""
    return {None: "by hand", ON_DEMAND: "by another service"}.get(deployment.name, "by schedule")


def run_name() -> str:
    """Name a run in the UI: the model, the night, and why it was started where somebody said so."""
    given = flow_run.parameters
    words = [given["model"], f"as of {given['as_of'] or 'today'}", f"because {given['reason']}" if given["reason"] else ""]
    return " ".join(word for word in words if word)


@flow(name="retraining", flow_run_name=run_name)
def retraining(model: str, as_of: date | None = None, overrides: dict[str, str] | None = None, reason: str = ""
               ) -> dict[str, Any]:
    """Retrain a model on the data up to a date and return its run record; a broken gate ends it as Failed."""
    place = settings()
    with night(place, model, run_id=flow_run.id, as_of=as_of, overrides=overrides, trigger=reason or started_by()) as tonight:
        snapshot = gate(tonight, "raw", collect(tonight))
        table = gate(tonight, "features", engineer(tonight, snapshot))
        look_for_leaks(tonight, table)
        trained = [train(tonight, table, name) for name in candidates(tonight)]
        evaluated = evaluate(tonight, snapshot, table, trained)
        gate(tonight, "predictions", evaluated.predictions)
        gate(tonight, "metrics", evaluated.metrics)
        decision = decide(tonight, evaluated)
        profile(tonight, snapshot, table, evaluated)
        release(tonight, table, evaluated)
        report(tonight, decision)
        if decision.verdict == "promoted":
            promote(tonight, decision)
        return conclude(tonight, decision).as_json()
