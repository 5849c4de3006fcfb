"""Serves every model's retraining on its schedule from this process: `python -m flows.serving`."""

from prefect import serve
from prefect.schedules import Cron

from flows.monitoring import monitoring
from flows.retraining import retraining
from nightgate.definition.loading import definition_path, load_definition, model_names
from nightgate.settings import settings


def deployments() -> list[object]:
    """Return a scheduled deployment a model, and one that other services trigger with any model."""
    place = settings()
    made: list[object] = [retraining.to_deployment(name="on-demand"), monitoring.to_deployment(name="on-demand")]
    for name in model_names(place.models):
        schedule = load_definition(definition_path(place.models, name)).schedule
        made.append(retraining.to_deployment(name=name, parameters={"model": name}, concurrency_limit=1,
                                             schedule=Cron(schedule.cron, timezone=schedule.timezone)))
    return made


if __name__ == "__main__":
    serve(*deployments(), pause_on_shutdown=False, limit=2)  # type: ignore[arg-type]
