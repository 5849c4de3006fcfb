"""Monitor: compare a model's data with those of its champion, and show what changed."""

from prefect import task
from prefect.artifacts import create_table_artifact

from nightgate import monitoring
from nightgate.drift.policy import TableDrift
from nightgate.errors import ContractBroken
from nightgate.settings import Settings


@task(name="compare", task_run_name="compare {model}")
def compare(place: Settings, model: str) -> TableDrift:
    """Return the comparison and show it, causes first."""
    _, compared = monitoring.compare_model(place, model)
    found = compared.found
    rows = [{"column": each.column, "verdict": each.verdict, "distance": round(each.distance, 4), "limit": round(each.limit, 4),
             "why": each.why} for each in found.ranked]
    create_table_artifact(rows, key=f"{model}-drift".replace("_", "-"), description=f"{found.alarm} columns raise an alarm.")
    return found


@task(name="alarm", task_run_name="alarm {model}")
def raise_alarm(model: str, found: TableDrift) -> None:
    """Stop where a column changed beyond its limit."""
    alarms = [f"{each.column}: {each.why}" for each in found.ranked if each.verdict == "alarm"]
    if alarms:
        raise ContractBroken(f"{model}: {len(alarms)} columns have changed since training:\n" + "\n".join(alarms[:10]),
                             remedy=f"Look at the source; `nightgate run {model}` learns from the data as they are now.")
