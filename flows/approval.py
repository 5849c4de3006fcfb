"""Approval of a run that waits: the form in Prefect's pages, by which a person decides with a reason."""

from typing import Any, Literal

from prefect import flow

from nightgate.approving import decide
from nightgate.settings import settings
from tasks import artifacts


@flow(name="approval", flow_run_name="{decision} {model} {run}")
def approval(model: str, run: int, decision: Literal["approve", "reject"], reason: str, by: str) -> dict[str, Any]:
    """Approve or reject a run that waits. Its report, card and comparison are artifacts of the run.

    Args:
        model: The model's name.
        run: The number of the run that waits.
        decision: Whether the challenger becomes champion.
        reason: Why, for the record.
        by: Who decides.
    """
    record = decide(settings(), model, run, decision, by=by, why=reason)
    artifacts.verdict(record)
    return record.as_json()
