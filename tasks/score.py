"""Score: a table goes in, predictions come out; both gates are shown whether they pass or not."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from nightgate import scoring
from nightgate.contracts.gate import GateResult
from nightgate.settings import Settings
from tasks.policy import may_be_retried


@task(name="score", task_run_name="score {source}", retries=3, retry_delay_seconds=[10, 60, 300], retry_condition_fn=may_be_retried)
def score(place: Settings, model: str, source: str, output: Path) -> dict[str, Any]:
    """Score a table; a source that does not answer is asked again."""
    def show(result: GateResult) -> None:
        rows = [{"check": each.sentence, "held": "yes" if each.success else "NO", "found": each.found}
                for each in sorted(result.results, key=lambda each: each.success)]
        create_table_artifact(rows, key=f"{model}-scoring-{result.boundary}".replace("_", "-"),
                              description=f"Gate **{result.boundary}** {'passed' if result.success else 'STOPPED'}: {result.rows:,} rows.")

    return asdict(scoring.score(place, model, source=source, output=output, show=show))
