"""Operation: 200 models due at the same minute, 1,000 triggers from 20 clients with a server that restarts, what orchestration costs."""

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from benchmarks.claims import Claim, report
from benchmarks.retraining import ROOT
from nightgate.cli.orchestrator import DEFAULTS
from nightgate.client import trigger

MODELS, TRIGGERS, CLIENTS, REPEATED = 200, 1_000, 20, 0.1


class Server:
    """A Prefect server as `nightgate up` starts it, with a database of its own, which can be restarted."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.api = folder, port, f"http://127.0.0.1:{port}/api"
        own = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": self.api, "PREFECT_SERVER_API_PORT": str(port), "PYTHONPATH": str(ROOT)}
        self.environment = {**os.environ, **DEFAULTS, **own}
        os.environ |= {"PREFECT_API_URL": self.api, "PREFECT_HOME": str(folder)}
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)],
                                   env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.api}/health", timeout=2).close()
                return process
            time.sleep(0.1)

    def restart(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = self._start()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tests.servers import free_port

    with tempfile.TemporaryDirectory(prefix="nightgate-operations-") as folder:
        made = Server(Path(folder), free_port())
        try:
            with temporary_settings({PREFECT_API_URL: made.api}):  # this process has read those of the server before
                yield made
        finally:
            made.end()


def measure(quick: bool) -> list[Claim]:
    """Measure both on servers of their own."""
    with server() as one:
        fleet = _fleet(one, 20 if quick else MODELS)
    with server() as other:
        triggers = _triggers(other, 100 if quick else TRIGGERS)
    return [*fleet, *triggers]


def _deployed(wanted: object) -> uuid.UUID:
    from prefect.deployments.runner import RunnerDeployment

    assert isinstance(wanted, RunnerDeployment)  # a coroutine only where a loop runs
    made = wanted.apply()
    assert isinstance(made, uuid.UUID)  # likewise
    return made


def _fleet(one: Server, models: int) -> list[Claim]:
    """Have all models due at once, and let the runner of `nightgate up` run them."""
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.states import Scheduled
    from prefect.types.entrypoint import EntrypointType

    from benchmarks.standin import standin

    names = [f"model-{number}" for number in range(models)]
    ids = [_deployed(standin.to_deployment(name=name, parameters={"number": number}, entrypoint_type=EntrypointType.MODULE_PATH))
           for number, name in enumerate(names)]
    due = datetime.now(UTC) + timedelta(seconds=5)
    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run_from_deployment(each, state=Scheduled(scheduled_time=due)) for each in ids]
    begin = time.monotonic()
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, *map(str, ids)], env=one.environment, cwd=ROOT)
    watched = psutil.Process(runner.pid)
    slow, most = _watch(one, watched, len(runs))
    runner.terminate()
    runner.wait(60)
    with get_client(sync_client=True) as client:
        found = [client.read_flow_run(run.id) for run in runs]
        every = client.read_flow_runs(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)), limit=200)
    once = sum(run.run_count == 1 and run.state is not None and run.state.is_completed() for run in found)
    delays = [run.start_time.timestamp() - due.timestamp() for run in found if run.start_time is not None]
    print(f"{models} models in {time.monotonic() - begin:.0f} s: worst delay {max(delays):.0f} s, runner and runs at most "
          f"{most / 2**20:.0f} MiB", file=sys.stderr)
    return [Claim(f"of {models} models due at once, ran exactly once", once, models, at_least=True),
            Claim("runs more than models", len(every) - min(models, 200), 0), Claim("API p99, seconds", slow, 2.0)]


RUNNER = """
import sys, time
from uuid import UUID
from multiprocessing import forkserver, get_context
from prefect import get_client
from flows.runner import PRELOADED, Runner
get_context("forkserver").set_forkserver_preload([*PRELOADED, "benchmarks.standin"])
forkserver.ensure_running()
with get_client(sync_client=True) as client:
    runner = Runner(client, [UUID(word) for word in sys.argv[1:]], 2)
    while True:
        runner.step()
        time.sleep(0.25)
"""


def _watch(one: Server, runner: psutil.Process, runs: int) -> tuple[float, int]:
    """Ask the server until all runs have ended; return the p99 of its answers and the largest memory of the runner with its runs."""
    answers, most, until = [], 0, time.monotonic() + 60 + 10 * runs
    while time.monotonic() < until:
        begin = time.perf_counter()
        request = urllib.request.Request(f"{one.api}/flow_runs/count", b'{"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}',
                                         {"Content-Type": "application/json"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
            done = int(answer.read())
            answers.append(time.perf_counter() - begin)
            if done >= runs:
                break
        with contextlib.suppress(psutil.Error):
            most = max(most, sum(each.memory_full_info().pss for each in (runner, *runner.children(recursive=True))))
        time.sleep(0.25)
    return statistics.quantiles(answers, n=100)[98] if len(answers) > 2 else float("inf"), most


def _triggers(one: Server, count: int) -> list[Claim]:
    """Trigger from many clients at once, some keys twice; kill the server in the middle and start it again."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

    from flows.retraining import retraining

    _deployed(retraining.to_deployment(name="on-demand"))
    chance = random.Random(7)
    keys = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(round(count * (1 - REPEATED)))]
    asked = keys + chance.sample(keys, count - len(keys))
    chance.shuffle(asked)
    restarting = threading.Timer(max(count / 100, 2.0), one.restart)
    restarting.start()
    with ThreadPoolExecutor(CLIENTS) as clients:
        given = list(clients.map(lambda key: trigger("credit", key=key, api=one.api), asked))
    restarting.join()
    of_key = {(each.key, each.run_id) for each in given}
    with get_client(sync_client=True) as client:
        found = Counter(run.idempotency_key for start in range(0, len(keys), 100) for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=keys[start:start + 100])), limit=200))
    exactly = sum(found[key] == 1 for key in keys)
    return [Claim(f"of {len(keys)} keys in {count} triggers, exactly one run", exactly, len(keys), at_least=True),
            Claim("keys that were answered with two runs", len(of_key) - len(keys), 0)]


if __name__ == "__main__":
    report(measure, __doc__ or "")
