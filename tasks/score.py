"""Score: a table goes in, predictions come out; both gates are shown whether they pass or not."""

from dataclasses import asdict
from datetime import date
from typing import Any

from prefect import task

from nightgate.contracts.gate import GateResult
from nightgate.contracts.telling import message
from nightgate.scoring import batch
from nightgate.settings import Settings
from tasks import artifacts
from tasks.policy import may_be_retried


@task(name="score", task_run_name="score {source}", retries=3, retry_delay_seconds=[10, 60, 300], retry_condition_fn=may_be_retried)
def score(place: Settings, model: str, source: str, output: str, window: str | None, as_of: date | None,
          dask: str | None) -> dict[str, Any]:
    """Score a table; a source that does not answer is asked again."""
    def show(result: GateResult) -> None:
        artifacts.gate(f"{model}-scoring", result, message(result, model=model))

    return asdict(batch.score(place, model, source=source, output=output, window=window, as_of=as_of, dask=dask, show=show))
