"""Runs that died without a word: they are marked, and started again once."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Crashed, Scheduled

from nightgate.errors import StoreError
from nightgate.operations import AGAIN, NIGHT
from nightgate.processes import is_gone
from nightgate.runs import LEASE_SECONDS, holder_of
from nightgate.settings import Settings

SILENT = timedelta(seconds=2 * LEASE_SECONDS)
"""How long a run may hold no model before it counts as dead: one that has just begun holds it within seconds."""

LATELY = timedelta(days=1)
"""How long ago a run may have crashed to be started again: later its night is another's."""


def mend(client: SyncPrefectClient, place: Settings, *, silent: timedelta = SILENT, deployments: Collection[UUID] | None = None
         ) -> list[str]:
    """Mark retrainings that run nowhere as Crashed and start each again once, of these deployments where some are named; return
    their names.

    Whether a run lives is asked of the registry, which knows it of every machine: a living run holds its model. One whose runner was
    on this machine and is dead has died with it; of others nothing is known until they have been silent for so long.
    """
    def ours(run: FlowRun) -> bool:
        return deployments is None or run.deployment_id in deployments

    begun = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])))
    runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["retraining"])), flow_run_filter=begun)
    dead = [run for run in runs if ours(run) and _is_dead(place, run, silent)]
    for run in dead:
        bury(client, run, "It ended without a word: its machine or its process died.")
    crashed = [run for run in _crashed(client) if ours(run) and _again(client, run)]
    return [run.name for run in (*dead, *crashed)]


def bury(client: SyncPrefectClient, run: FlowRun, how: str) -> None:
    """Mark a run as Crashed; where it ran by a deployment it is started again, but never a second time.

    Started again first: who dies in between leaves a run that is buried later, not one that is forgotten.
    """
    _again(client, run)
    client.set_flow_run_state(run.id, Crashed(message=how), force=True)


def _again(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Start a run again, once however often that is asked; say whether it was, which it is not where its deployment is gone."""
    if run.deployment_id is None or AGAIN in run.tags:
        return False
    night = run.auto_scheduled or NIGHT in run.tags
    try:
        client.create_flow_run_from_deployment(
            run.deployment_id, parameters=run.parameters, tags=sorted({*run.tags, AGAIN, *({NIGHT} if night else ())}),
            state=Scheduled(scheduled_time=run.expected_start_time if night else datetime.now(UTC)), idempotency_key=_key(run))
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 404:
            raise
        return False
    return True


def _key(run: FlowRun) -> str:
    return f"again {run.id}"


def _crashed(client: SyncPrefectClient) -> list[FlowRun]:
    """Return retrainings that said of themselves that they crashed, as one does that is terminated, and were not started again."""
    since = FlowRunFilterEndTime(after_=datetime.now(UTC) - LATELY)
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["retraining"])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])), end_time=since))
    found = [run for run in found if run.deployment_id is not None and AGAIN not in run.tags]
    keys = FlowRunFilterIdempotencyKey(any_=[_key(run) for run in found])
    known = {run.idempotency_key for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=keys))} if found else set()
    return [run for run in found if _key(run) not in known]


def _is_dead(place: Settings, run: FlowRun, silent: timedelta) -> bool:
    since = run.state.timestamp if run.state is not None else run.created
    orphaned = run.infrastructure_pid is not None and "|" in run.infrastructure_pid and is_gone(run.infrastructure_pid)
    if not orphaned and (since is None or abs(datetime.now(UTC) - since) < silent):
        return False
    try:
        held = holder_of(place.registry, str(run.parameters.get("model", "")))
    except StoreError:
        return False  # who cannot be asked is not dead
    return held is None or held[1] != str(run.id)
