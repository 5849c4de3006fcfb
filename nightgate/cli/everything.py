"""`up`: Prefect's server and the runner of the schedules, as processes that end with this one."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

from nightgate.errors import NightgateError, UsageError
from nightgate.processes import end_with
from nightgate.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CHECKED = ("prefect", "fastapi", "sqlalchemy", "scikit-learn")
"""Packages whose wrong version lets a server start and work not."""

AUTH = "PREFECT_SERVER_API_AUTH_STRING"


def run_everything(place: Settings, host: str, port: int, *, told: TextIO) -> str:
    """Start a server and what runs the schedules, and keep both until Ctrl-C; return the address of the pages.

    Raises UsageError when it runs already, the port is taken, or the server would be open to others.
    """
    from nightgate.cli.orchestrator import prepare

    address = f"http://{host}:{port}"
    with _only_one(place, address), contextlib.ExitStack() as ended:
        _demand_closed(host)
        _demand_free(host, port)
        _demand_store(place)
        os.environ |= {"PREFECT_API_URL": f"{address}/api", "PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_API_HOST": host,
                       "PYTHONPATH": str(place.root), "NIGHTGATE_PROJECT": str(place.root)}
        if AUTH in os.environ:
            os.environ.setdefault("PREFECT_API_AUTH_STRING", os.environ[AUTH])
        prepare(place)
        print("Starting the server …", file=told, flush=True)
        server = _started(ended, place, "-m", "prefect", "server", "start", "--host", host, "--port", str(port))
        runner = _started(ended, place, "-m", "flows.runner")  # it waits for the server itself
        _answered(f"{address}/api/health", server)
        for each in _left_to_people(place, f"{address}/api"):
            print(each, file=told)
        print(f"{address} shows all runs; Ctrl-C ends everything.", file=told, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while (dead := next((each for each in (server, runner) if each.poll() is not None), None)) is None:
                time.sleep(0.5)
            which = "server" if dead is server else "runner"
            raise UsageError(f"The {which} ended by itself, with {dead.returncode}; everything has ended with it.",
                             remedy=f"{_log(place).relative_to(place.root)} says why.")
    return address


def _left_to_people(place: Settings, api: str) -> list[str]:
    """Return what the runner leaves as it is: deployments that somebody has changed, and models whose definition is broken."""
    from nightgate.definition.loading import definitions_of
    from nightgate.operations import by_hand, deployed, no_nights

    broken = definitions_of(place.models)[1]
    return [*(by_hand(each.name) for each in deployed(place, api) if each.by_hand), *map(no_nights, broken.values())]


def mistakes(place: Settings, host: str, port: int) -> list[str]:
    """Return what would keep `up` from working, a sentence each."""
    from importlib.metadata import requires, version

    from packaging.requirements import Requirement

    from nightgate.definition.loading import definitions_of

    found = []
    for demand, *about in ((_demand_closed, host), (_demand_free, host, port), (_demand_store, place), (_demand_registry, place),
                           (_demand_cluster, place)):
        try:
            demand(*about)
        except NightgateError as error:
            found.append(error.message)
    found += definitions_of(place.models)[1].values()
    if (running := running_here(place)) is not None:
        found.append(f"`nightgate up` runs already for {place.root.name}, at {running['address']}.")
    needed = [each for each in map(Requirement, requires("nightgate") or []) if each.name in CHECKED]
    return found + [f"{each.name} is {version(each.name)}; Nightgate needs {each.specifier}." for each in needed
                    if not each.specifier.contains(version(each.name))]


def running_here(place: Settings) -> dict[str, Any] | None:
    """Return what `up` says of itself while it runs for this project, else None: the system frees the lock of one that died."""
    path = _lock(place)
    with contextlib.suppress(OSError, ValueError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            value: dict[str, Any] = json.load(file)
            return value
    return None


@contextlib.contextmanager
def _only_one(place: Settings, address: str) -> Iterator[None]:
    """Hold the project's own lock, and say in it where the pages are."""
    path = _lock(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"`nightgate up` runs already for {place.root.name}.", remedy="Ctrl-C where it runs ends it.") from None
        file.truncate(0)
        file.write(json.dumps({"address": address, "process": os.getpid()}))
        file.flush()
        yield


def _demand_closed(host: str) -> None:
    if host not in LOOPBACK and AUTH not in os.environ:
        raise UsageError(f"The server would answer anybody who reaches {host}.",
                         remedy=f"Set {AUTH}=admin:… first, and PREFECT_API_AUTH_STRING to the same where it is asked.")


def _demand_free(host: str, port: int) -> None:
    from nightgate.serving.running import listener

    listener(host, port).close()


def _demand_store(place: Settings) -> None:
    place.store.write("up-check", b"")
    place.store.remove("up-check")


def _demand_registry(place: Settings) -> None:
    from nightgate.runs import holder_of

    holder_of(place.registry, "up-check")


def _demand_cluster(place: Settings) -> None:
    if place.dask is not None:
        from nightgate.cluster import connected

        with connected(place.dask, place.root):
            pass


def _started(ended: contextlib.ExitStack, place: Settings, *words: str) -> "subprocess.Popen[bytes]":
    """Start a Python process in a group of its own, which ends with the stack, and with this process however that ends."""
    log: IO[bytes] = ended.enter_context(_log(place).open("ab"))
    process = subprocess.Popen([sys.executable, *words], cwd=place.root, stdout=log, stderr=log, start_new_session=True,
                               preexec_fn=partial(end_with, os.getpid()))
    ended.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
            return


def _answered(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(1_200):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise UsageError("The server did not start.", remedy="`.nightgate/up.log` says why.")


def _lock(place: Settings) -> Path:
    return place.root / ".nightgate" / "up.lock"


def _log(place: Settings) -> Path:
    return place.root / ".nightgate" / "up.log"
