"""Monitoring: what a model sees now against what its champion was trained on."""

from datetime import date
from typing import Any

from prefect import flow

from nightgate.settings import settings
from tasks.monitor import ask, let_pass, look


@flow(name="monitoring", flow_run_name="{model}")
def monitoring(model: str, as_of: date | None = None) -> dict[str, Any]:
    """Compare, show, ask for a retraining where one is needed, and end as Failed when the drift contract is broken."""
    found = look(settings(), model, as_of)
    ask(model, found)
    return let_pass(found)
