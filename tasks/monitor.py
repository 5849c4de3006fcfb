"""Monitor: compare what a model sees with what it was trained on, show what changed, ask for a retraining."""

from datetime import date

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from nightgate import watching
from nightgate.contracts.telling import message
from nightgate.operations import RETRAINING_ASKED
from nightgate.settings import Settings
from nightgate.watching import Look
from tasks import artifacts


@task(name="look", task_run_name="look at {model}")
def look(place: Settings, model: str, as_of: date | None) -> Look:
    """Return the night and show it, causes first."""
    found = watching.look(place, model, as_of=as_of)
    table = found.monitored.compared.found
    rows = [{"column": each.column, "verdict": each.verdict, "distance": round(each.distance, 4), "limit": round(each.limit, 4),
             "why": each.why} for each in table.ranked]
    key = f"{model}-drift".replace("_", "-")
    create_table_artifact(rows, key=key, description=f"{table.alarm} columns raise an alarm.")
    artifacts.link(str(found.night.report), key=f"{key}-report", text=f"Monitoring of {model}, {found.night.as_of}")
    artifacts.gate(f"{model}-gate", found.gate, message(found.gate, model=model))
    return found


@task(name="ask for a retraining", task_run_name="ask for a retraining of {model}")
def ask(model: str, found: Look) -> None:
    """Emit the event that the automation waits for; at most one in a cool-down, however many nights the alarm is open."""
    if found.asks:
        emit_event(RETRAINING_ASKED, resource={"prefect.resource.id": f"nightgate.model.{model}", "prefect.resource.name": model},
                   payload={"model": model, "reason": found.night.reason, "report": str(found.night.report)})


let_pass = task(name="gate drift", task_run_name="gate drift")(watching.let_pass)
