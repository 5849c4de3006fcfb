"""Deployments: which flows run when. `python -m flows.deploying deploy|pause|resume NAME…` changes them on Prefect's server."""

import json
import sys
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from prefect import Flow, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from flows.automating import automate
from flows.monitoring import monitoring
from flows.retraining import retraining
from flows.scoring import scoring
from nightgate.definition.loading import definition_path, load_definition, model_names
from nightgate.operations import ON_DEMAND
from nightgate.settings import Settings, settings

FLOWS: dict[str, Flow[..., Any]] = {"retraining": retraining, "monitoring": monitoring, "scoring": scoring}
NIGHTLY = ("retraining", "monitoring")


def deployments(place: Settings, pool: str | None = None) -> list[RunnerDeployment]:
    """Return a nightly retraining and monitoring a model, and a deployment a flow that other services trigger with any model.

    What somebody has paused stays paused. With a pool its workers run them, in the project's folder.
    """
    paused = {(flow, each.name) for flow in NIGHTLY for each in _known(flow) if each.paused}
    made = [_deployment(place, flow, ON_DEMAND, pool) for flow in FLOWS]
    for model in model_names(place.models):
        schedule = load_definition(definition_path(place.models, model)).schedule
        cron = Cron(schedule.cron, timezone=schedule.timezone)
        made += [_deployment(place, flow, model, pool, schedule=cron, paused=(flow, model) in paused) for flow in NIGHTLY]
    return made


def on_demand(made: Sequence[RunnerDeployment]) -> UUID:
    """Write the retraining that takes any model to the server; return its id."""
    deployment = next(each for each in made if (each.flow_name, each.name) == ("retraining", ON_DEMAND))
    return cast("UUID", deployment.apply())


def forget(place: Settings) -> list[str]:
    """Remove the deployments of models that this project has no more; return their names."""
    there, gone = {*model_names(place.models), ON_DEMAND}, []
    with get_client(sync_client=True) as client:
        for flow in NIGHTLY:
            for each in _known(flow):
                if each.description == _mark(place) and each.name not in there:
                    client.delete_deployment(each.id)
                    gone.append(f"{flow}/{each.name}")
    return gone


def deploy(place: Settings, pool: str) -> dict[str, list[str]]:
    """Write the deployments to the server for the workers of a pool, which is made where it is not there."""
    if not get_current_settings().api.url:
        sys.exit("PREFECT_API_URL is not set")
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=pool, type=ProcessWorker.type, base_job_template=template))
    made = deployments(place, pool)
    for each in made:
        each.apply()
    automate(place, on_demand(made))
    return {"deployed": [f"{each.flow_name}/{each.name}" for each in made], "removed": forget(place)}


def pause(models: Sequence[str], *, paused: bool) -> dict[str, list[str]]:
    """Pause or resume the nightly runs of models; return which deployments that changed, and the models that have none."""
    changed, found = [], set()
    with get_client(sync_client=True) as client:
        for flow in NIGHTLY:
            for each in _known(flow):
                if each.name in models:
                    client.update_deployment(each.id, DeploymentUpdate(paused=paused))
                    changed.append(f"{flow}/{each.name}")
                    found.add(each.name)
    return {"changed": changed, "unknown": sorted({*models} - found)}


def _deployment(place: Settings, flow: str, name: str, pool: str | None, *, schedule: Schedule | None = None, paused: bool = False
                ) -> RunnerDeployment:
    variables = None if pool is None else {"working_dir": str(place.root), "env": {"NIGHTGATE_PROJECT": str(place.root)}}
    made = FLOWS[flow].to_deployment(
        name=name, schedule=schedule, paused=paused, parameters=None if schedule is None else {"model": name},
        concurrency_limit=None if schedule is None else 1, description=_mark(place), work_pool_name=pool, job_variables=variables,
        entrypoint_type=EntrypointType.FILE_PATH if pool is None else EntrypointType.MODULE_PATH)
    assert isinstance(made, RunnerDeployment)  # a coroutine only where a loop runs
    return made


def _known(flow: str) -> list[DeploymentResponse]:
    with get_client(sync_client=True) as client:
        return client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))


def _mark(place: Settings) -> str:
    """Return what tells this project's deployments from another's on the same server."""
    return f"Nightgate, project {place.root}"


if __name__ == "__main__":
    word, *names = sys.argv[1:]
    print(json.dumps(deploy(settings(), names[0]) if word == "deploy" else pause(names, paused=word == "pause")))
