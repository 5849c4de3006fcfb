"""Deployments: which flows run when. `python -m flows.deploying deploy|pause|resume|forget|mend NAME…` changes them on Prefect's server.

One that somebody has changed by hand in the UI is kept as it is, and told.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.settings import get_current_settings
from prefect.states import Scheduled
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from flows.all_models import all_models
from flows.approval import approval
from flows.automating import automate, automation_of
from flows.mending import mend
from flows.monitoring import monitoring
from flows.retraining import retraining
from flows.scoring import scoring
from nightgate.definition.loading import definitions_of, model_names
from nightgate.definition.model import Definition
from nightgate.errors import UsageError
from nightgate.operations import NIGHT, ON_DEMAND, OWNER, PAGE, content_of, owner
from nightgate.schedules import missed, night_of
from nightgate.settings import DEPLOYED, Settings, settings

FLOWS: dict[str, Flow[..., Any]] = {"retraining": retraining, "monitoring": monitoring, "scoring": scoring, "approval": approval,
                                    "all-models": all_models}
NIGHTLY = ("retraining", "monitoring")
CONTENT = {"schedules", "parameters", "work_pool_name", "job_variables"}
"""Fields of a deployment that a person may change."""


@dataclass
class Written:
    """What deploying did: names of deployments written, left as they were, kept because somebody changed them by hand, and removed.

    `definitions` of the models it was done for; models whose definition is `broken`, with why: what they have stays.
    """

    definitions: Mapping[str, Definition]
    broken: Mapping[str, str]
    ids: dict[str, UUID] = field(default_factory=dict)
    deployed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def write(place: Settings, pool: str | None = None) -> Written:
    """Write every model's deployments to the server, and remove those of models that this project has no more.

    With a pool its workers run them, in the project's folder; without, the runner of `nightgate up`. What somebody has paused stays
    paused, and what somebody has changed stays changed.
    """
    definitions, broken = definitions_of(place.models)
    written = Written(definitions, broken)
    known = {f"{flow}/{each.name}": each for flow in FLOWS for each in _known(flow)}
    if pool is None:
        _follow_move(place, known.values())
    for wanted in _wanted(place, pool, definitions):
        name = f"{wanted.flow_name}/{wanted.name}"
        there, mark = known.get(name), content_of(wanted.model_dump(mode="json", include=CONTENT))
        wanted.description = f"{owner(place)}\n{mark}"
        theirs = "" if there is None else _owner_of(there)
        if theirs != owner(place) and theirs.startswith(OWNER):
            raise UsageError(f"This server has {name} of another: {theirs}.", remedy="Give each project a server of its own.")
        if there is not None and theirs == owner(place):
            now = content_of(there.model_dump(mode="json", include=CONTENT))
            by_hand = not (there.description or "").endswith(now)
            form = (there.parameter_openapi_schema or {}).get("properties")
            if by_hand is (now != mark) and (by_hand or form == wanted._parameter_openapi_schema.properties):
                written.ids[name] = there.id
                written.kept += [name] if by_hand else []
                continue
            wanted.paused = there.paused
        written.ids[name] = _applied(wanted)
        written.deployed.append(name)
    with get_client(sync_client=True) as client:
        for name, there in known.items():
            if name not in written.ids and there.name not in broken and _owner_of(there) == owner(place):
                client.delete_deployment(there.id)
                written.removed.append(name)
    automate(place, written.ids[f"retraining/{ON_DEMAND}"])
    return written


def forget(place: Settings, model: str) -> dict[str, list[str]]:
    """Remove the deployments of a model of this project from the server; return their names."""
    removed = []
    with get_client(sync_client=True) as client:
        for flow in NIGHTLY:
            for each in _known(flow):
                if each.name == model and _owner_of(each) == owner(place):
                    client.delete_deployment(each.id)
                    removed.append(f"{flow}/{each.name}")
    return {"removed": removed}


def catch_up(place: Settings, written: Written) -> list[str]:
    """Create the runs of nights that were missed, as each definition says, once whoever asks; return their names."""
    created = []
    with get_client(sync_client=True) as client:
        for model, definition in written.definitions.items():
            if client.read_deployment(written.ids[f"retraining/{model}"]).paused:
                continue
            for moment in missed(place.store, model, definition.schedule, datetime.now(UTC)):
                key = f"{model} {night_of(definition.schedule, moment)}"
                client.create_flow_run_from_deployment(written.ids[f"retraining/{model}"], state=Scheduled(scheduled_time=moment),
                                                       parameters={"model": model}, tags=[NIGHT], idempotency_key=key)
                created.append(key)
    return created


def deploy(place: Settings, pool: str) -> dict[str, Any]:
    """Write the deployments to the server for the workers of a pool, which is made where it is not there."""
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=pool, type=ProcessWorker.type, base_job_template=template))
    written = write(place, pool)
    return {"deployed": sorted(written.ids), "changed by hand": written.kept, "removed": written.removed, "broken": written.broken,
            "caught up": catch_up(place, written)}


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


def _wanted(place: Settings, pool: str | None, definitions: Mapping[str, Definition]) -> Iterator[RunnerDeployment]:
    """Yield a nightly retraining and monitoring of each model, and a deployment a flow that other services trigger with any model."""
    models = model_names(place.models)
    for flow in FLOWS:
        made = _deployment(place, flow, ON_DEMAND, pool)
        form = made._parameter_openapi_schema.properties  # it offers the models, the server refuses others
        (form["model"] if "model" in form else form["models"]["anyOf"][0]["items"]).update(enum=models)
        yield made
    for model, definition in definitions.items():
        nights = definition.schedule
        for flow in NIGHTLY:
            yield _deployment(place, flow, model, pool, schedule=Cron(nights.cron, timezone=nights.timezone))


def _deployment(place: Settings, flow: str, name: str, pool: str | None, *, schedule: Schedule | None = None) -> RunnerDeployment:
    variables = None if pool is None else {
        "working_dir": str(place.root), "env": {"NIGHTGATE_PROJECT": str(place.root), DEPLOYED: version("nightgate"),
                                                     "PREFECT_LOGGING_EXTRA_LOGGERS": "nightgate"}}
    made = FLOWS[flow].to_deployment(
        name=name, schedule=schedule, parameters=None if schedule is None else {"model": name},
        concurrency_limit=None if schedule is None else 1, work_pool_name=pool, job_variables=variables,
        entrypoint_type=EntrypointType.MODULE_PATH)
    assert isinstance(made, RunnerDeployment)  # a coroutine only where a loop runs
    return made


def _applied(wanted: RunnerDeployment) -> UUID:
    made = wanted.apply()
    assert isinstance(made, UUID)  # likewise
    return made


def _known(flow: str) -> Iterator[DeploymentResponse]:
    """Yield the deployments of a flow that the server has, page by page."""
    with get_client(sync_client=True) as client:
        for offset in range(0, 1_000_000, PAGE):
            page = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), limit=PAGE, offset=offset)
            yield from page
            if len(page) < PAGE:
                return


def _owner_of(deployment: DeploymentResponse) -> str:
    """Return the first line of a deployment's description: the project that wrote it, where one did."""
    return (deployment.description or "").partition("\n")[0]


def _follow_move(place: Settings, known: Iterable[DeploymentResponse]) -> None:
    """Take what this very project wrote while its folder was elsewhere for its own: its server's tables moved with it."""
    with get_client(sync_client=True) as client:
        for each in known:
            theirs, _, mark = (each.description or "").partition("\n")
            before = Path(theirs.removeprefix(OWNER))
            if theirs.startswith(OWNER) and not before.exists():
                each.description = f"{owner(place)}\n{mark}"
                client.update_deployment(each.id, DeploymentUpdate(description=each.description))
                for automation in client.read_automations_by_name(automation_of(before)):
                    client.delete_automation(automation.id)


if __name__ == "__main__":
    word, *names = sys.argv[1:]
    if not get_current_settings().api.url:
        sys.exit("PREFECT_API_URL is not set")
    if word == "forget":
        told: dict[str, Any] = forget(settings(), names[0])
    elif word == "mend":
        with get_client(sync_client=True) as asked:
            told = {"mended": mend(asked, settings())}
    else:
        told = deploy(settings(), names[0]) if word == "deploy" else pause(names, paused=word == "pause")
    print(json.dumps(told))
