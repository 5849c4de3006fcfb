"""Scoring of a table with a model's champion, between the gates of the raw data and of the predictions."""

from pathlib import Path
from typing import Any

from prefect import flow

from nightgate.settings import settings
from tasks.score import score


@flow(name="scoring", flow_run_name="{model} {source}")
def scoring(model: str, source: str, output: str) -> dict[str, Any]:
    """Score a table and return where the predictions are, how many, and by which version."""
    place = settings()
    return score(place, model, source, Path(place.root, output))
