"""Monitoring: what a model's source gives now against what its champion was trained on."""

from typing import Any

from prefect import flow

from nightgate.settings import settings
from tasks.monitor import compare, raise_alarm


@flow(name="monitoring", flow_run_name="{model}")
def monitoring(model: str) -> dict[str, Any]:
    """Compare, show the table, and end as Failed when a column raises an alarm."""
    found = compare(settings(), model)
    raise_alarm(model, found)
    return found.as_json()
