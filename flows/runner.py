"""Runs what is due: `python -m flows.runner` asks Prefect's server each second and starts each run as a fork of a warm process.

A run has a process of its own, so that a kill takes no other with it, and begins within a second, since what takes long to load
is there already. Definitions and the project's own code are read by the run itself, never from before.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.responses import FlowRunResponse, OrchestrationResult, SetStateStatus
from prefect.exceptions import PrefectHTTPStatusError, SignatureMismatchError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Failed, Pending

from flows import mending
from flows.deploying import Written, catch_up, write
from flows.embedded import without_heartbeat
from nightgate.definition.loading import model_names
from nightgate.errors import NightgateError, SourceUnavailable
from nightgate.operations import by_hand, demand_server, no_nights
from nightgate.processes import end_with, mark
from nightgate.settings import Settings, settings

POLL_SECONDS = 1.0
"""Between two questions to the server: a run that another service triggers begins within about two seconds."""

MOST_AT_ONCE = 2
"""Runs at once, unless NIGHTGATE_RUNS says otherwise: a training uses all processors by itself."""

NICE = 5
"""How much a run leaves to the server, which shares the processors with it and must answer."""

MENDING_SECONDS = 60.0

PRELOADED = ("flows.deploying", "sklearn.ensemble", "mlflow.tracking", "duckdb")


def forked(run: FlowRunResponse) -> BaseProcess:
    """Start a run in a fork of the warm process."""
    process = multiprocessing.get_context("forkserver").Process(target=execute, args=(run.id, os.getpid()), name=run.name)
    process.start()
    return process


@dataclass
class Runner:
    """Starts due runs of `deployments`, at most `limit` at once, and minds their processes."""

    client: SyncPrefectClient
    deployments: list[UUID]
    limit: int
    begin: Callable[[FlowRunResponse], BaseProcess] = forked
    running: dict[UUID, BaseProcess] = field(default_factory=dict)

    def step(self) -> None:
        """Start what is due and may start, end what was cancelled, and say of a process that died that its run did."""
        for run_id in [run_id for run_id, process in self.running.items() if not process.is_alive()]:
            process = self.running.pop(run_id)
            if process.exitcode:
                self._bury(run_id, process.exitcode)
        self._cancel()
        free = self.limit - len(self.running)
        if free > 0:
            due = self.client.get_scheduled_flow_runs_for_deployments(self.deployments, scheduled_before=datetime.now(UTC), limit=200)
            for run in sorted(due, key=lambda run: (run.next_scheduled_start_time or run.created, str(run.id)))[:free]:
                self._start(run)

    def _start(self, run: FlowRunResponse) -> None:
        claimed: OrchestrationResult[Any] = self.client.set_flow_run_state(run.id, Pending(message="Taken by the runner."))
        if claimed.state is not None and claimed.state.is_pending() and claimed.status is SetStateStatus.ACCEPT:
            self.running[run.id] = self.begin(run)
            self.client.update_flow_run(run.id, infrastructure_pid=mark())  # by which the next runner knows what died with this one

    def _cancel(self) -> None:
        if not self.running:
            return
        cancelling = FlowRunFilter(id=FlowRunFilterId(any_=[*self.running]),
                                   state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Cancelling"])))
        for run in self.client.read_flow_runs(flow_run_filter=cancelling):
            end(self.running.pop(run.id))
            self.client.set_flow_run_state(run.id, Cancelled(message="Cancelled by hand."), force=True)

    def _bury(self, run_id: UUID, code: int) -> None:
        run = self.client.read_flow_run(run_id)
        if run.state is not None and not run.state.is_final():
            how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            mending.bury(self.client, run, f"The run's process {how}.")


def execute(run_id: UUID, parent: int) -> None:
    """Run one flow run in this process, a fork of the warm one; it ends when the runner does."""
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import load_flow_and_flow_run, run_flow

    end_with(parent)
    os.nice(NICE)
    os.environ["PREFECT__FLOW_RUN_ID"] = str(run_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the runner ends its runs by SIGTERM
    with without_heartbeat(), handle_engine_signals(run_id):
        run, flow = load_flow_and_flow_run(run_id)
        try:
            run_flow(flow, flow_run=run)
        except SignatureMismatchError as error:  # a parameter that the flow does not take, of which Prefect says nothing
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run_id, Failed(message=str(error)), force=True)
            raise


def end(process: BaseProcess) -> None:
    """End a run's process: with time to say so, then at once."""
    process.terminate()
    process.join(15)
    if process.is_alive():
        process.kill()
        process.join()


def stamps(place: Settings) -> dict[str, int]:
    """Return when each definition was written last, by its model: models come, change and go while the runner runs."""
    found = {}
    for name in model_names(place.models):
        with contextlib.suppress(OSError):  # it has just gone
            found[name] = (place.models / f"{name}.toml").stat().st_mtime_ns
    return found


def written_and_told(place: Settings) -> Written:
    """Write the deployments, and say what was left and removed."""
    written = write(place)
    for told in (*map(by_hand, written.kept), *map(no_nights, written.broken.values()), *(f"{name}: removed" for name in written.removed)):
        print(told, flush=True)
    return written


def main() -> None:
    """Write the deployments, catch up missed nights, and run what is due until SIGTERM or Ctrl-C."""
    place = settings()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()
    while not stopped.wait(POLL_SECONDS / 4):
        with contextlib.suppress(SourceUnavailable):  # the server starts beside this process
            demand_server(str(get_current_settings().api.url))
            break
    seen = last = stamps(place)
    written = written_and_told(place)
    for name in catch_up(place, written):
        print(f"{name}: caught up", flush=True)
    with get_client(sync_client=True) as client:
        runner = Runner(client, list(written.ids.values()), int(os.environ.get("NIGHTGATE_RUNS", MOST_AT_ONCE)))
        mended = time.monotonic()
        mending.mend(client, place, deployments=set(runner.deployments))  # what ran by a runner that died here has died with it
        try:
            while not stopped.wait(POLL_SECONDS):
                with contextlib.suppress(httpx.HTTPError, PrefectHTTPStatusError):  # the server is asked again
                    before, last = last, stamps(place)
                    if seen != last == before:  # an editor may take a file away for a moment
                        runner.deployments = list(written_and_told(place).ids.values())
                        seen = last
                    if time.monotonic() - mended > MENDING_SECONDS:
                        mending.mend(client, place)
                        mended = time.monotonic()
                    runner.step()
        finally:
            for process in runner.running.values():
                end(process)


if __name__ == "__main__":
    try:
        main()
    except NightgateError as error:
        sys.exit(f"{error.message} {error.remedy}")
