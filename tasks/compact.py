"""Compact: the prediction log's lines become Parquet files by day."""

from dataclasses import asdict
from typing import Any

from prefect import task

from nightgate import predictionlog
from nightgate.settings import Settings


@task(name="compact", task_run_name="compact {model}", retries=2, retry_delay_seconds=60)
def compact(place: Settings, model: str) -> dict[str, Any]:
    """Compact what no service writes to any more; doing it again changes nothing."""
    return asdict(predictionlog.compact(place, model))
