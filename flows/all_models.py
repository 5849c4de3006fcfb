"""Retraining of many models by one trigger: a run of its own for each, which the runner or a pool's workers start within their bounds."""

from datetime import date

from prefect import flow
from prefect.runtime import flow_run

from nightgate.client import trigger
from nightgate.definition.loading import definitions_of
from nightgate.errors import NightgateError, UsageError
from nightgate.settings import settings


@flow(name="all-models", flow_run_name="as of {as_of}")
def all_models(as_of: date | None = None, reason: str = "", dry_run: bool = False, models: list[str] | None = None) -> dict[str, str]:
    """Ask for a retraining of every model and return the runs by model; who fails stops no other.

    Args:
        as_of: The night to run, today's when left out.
        reason: Why, for the records and the runs' names.
        dry_run: Decide, and change nothing.
        models: Only these.

    Raises:
        UsageError: when all others were asked for, with the models that could not be.
    """
    known, broken = definitions_of(settings().models)
    wanted = models or [*known, *broken]
    refused = {model: broken[model] for model in wanted if model in broken}
    asked = {}
    for model in sorted({*wanted} - broken.keys()):
        try:
            asked[model] = trigger(model, as_of=as_of, reason=reason or "all models", dry_run=dry_run, key=f"{flow_run.id} {model}").run_id
        except NightgateError as error:
            refused[model] = error.message
    if refused:
        raise UsageError(f"{len(refused)} of {len(asked) + len(refused)} models could not be asked for, such as "
                         + "; ".join(f"{model}: {told}" for model, told in list(refused.items())[:3]), remedy="The others run.")
    return asked
