"""Scoring of a table with a model's champion, between the gates of the raw data and of the predictions."""

from datetime import date
from typing import Any

from prefect import flow

from nightgate.settings import settings
from tasks.score import score


@flow(name="scoring", flow_run_name="{model} {source}")
def scoring(model: str, source: str, output: str, window: str | None = None, as_of: date | None = None,
            dask: str | None = None) -> dict[str, Any]:
    """Score a table and return where the predictions are, how many, and by which version."""
    return score(settings(), model, source, output, window, as_of, dask)
