"""Compaction of a model's prediction log, as often as one likes."""

from typing import Any

from prefect import flow

from nightgate.settings import settings
from tasks.compact import compact


@flow(name="compaction", flow_run_name="{model}")
def compaction(model: str) -> dict[str, Any]:
    """Turn segments into Parquet by day and return what was done."""
    return compact(settings(), model)
