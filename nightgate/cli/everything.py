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
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

from nightgate.errors import NightgateError, UsageError, bounded
from nightgate.processes import end_with
from nightgate.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CHECKED = ("prefect", "fastapi", "sqlalchemy", "scikit-learn")
"""Packages whose wrong version lets a server start and work not."""

AUTH = "PREFECT_SERVER_API_AUTH_STRING"
ASKED = "PREFECT_API_AUTH_STRING"


def run_everything(place: Settings, host: str, port: int, *, told: TextIO) -> str:
    """Start a server and what runs the schedules, and keep both until Ctrl-C; return the address of the pages.

    Raises UsageError when it runs already, the port is taken, or the server would be open to others.
    """
    from nightgate.cli.orchestrator import prepare

    address = f"http://{host}:{port}"
    with _only_one(place, address), contextlib.ExitStack() as ended:
        _demand_closed(host)
        _demand_one_password()
        _demand_free(host, port)
        place.store.demand_writable()
        os.environ |= {"PREFECT_API_URL": f"{address}/api", "PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_API_HOST": host,
                       "PYTHONPATH": str(place.root), "NIGHTGATE_PROJECT": str(place.root)}
        if AUTH in os.environ:
            os.environ.setdefault(ASKED, os.environ[AUTH])
        prepare(place)
        print("Starting the server …", file=told, flush=True)
        server = _started(ended, place, "-m", "prefect", "server", "start", "--host", host, "--port", str(port))
        runner = _started(ended, place, "-m", "flows.runner")  # it waits for the server itself
        _answered(place, f"{address}/api/health", server)
        for each in _left_to_people(place, f"{address}/api"):
            print(each, file=told)
        print(f"{address} shows all runs; Ctrl-C ends everything.", file=told, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while (dead := next((each for each in (server, runner) if each.poll() is not None), None)) is None:
                time.sleep(0.5)
            which = "server" if dead is server else "runner"
            raise UsageError(f"The {which} ended by itself, with {dead.returncode}, and everything with it. It said: {_last_word(place)}",
                             remedy=f"{_log(place).relative_to(place.root)} has the whole.")
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
    for demand, *about in ((_demand_closed, host), (_demand_one_password,), (_demand_free, host, port), (place.store.demand_writable,),
                           (_demand_registry, place), (_demand_cluster, place)):
        try:
            demand(*about)
        except NightgateError as error:
            found.append(error.message)
    found += definitions_of(place.models)[1].values()
    found += [_runs_already(place, running).message for running in map(_said, _locks(place)[-1:]) if running is not None]
    needed = [each for each in map(Requirement, requires("nightgate") or []) if each.name in CHECKED]
    return found + [f"{each.name} is {version(each.name)}; Nightgate needs {each.specifier}." for each in needed
                    if not each.specifier.contains(version(each.name))]


def running_here(place: Settings) -> dict[str, Any] | None:
    """Return what `up` says of itself while it runs for this project, else None: the system frees the lock of one that died."""
    return _said(_lock(place))


def _said(lock: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError), lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            value: dict[str, Any] = json.load(file)
            return value
    return None


@contextlib.contextmanager
def _only_one(place: Settings, address: str) -> Iterator[None]:
    """Hold the locks of the project and of its server's tables, which stand in its store, and say in them where the pages are."""
    with contextlib.ExitStack() as held:
        for lock in _locks(place):
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(lock.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _runs_already(place, _said(lock) or {}) from None
            file.truncate(0)
            file.write(json.dumps({"address": address, "process": os.getpid(), "project": str(place.root)}))
            file.flush()
        yield


def _locks(place: Settings) -> list[Path]:
    from nightgate.cli.orchestrator import own_tables

    tables = own_tables(place)
    return [_lock(place), *([tables / "up.lock"] if tables is not None else [])]


def _runs_already(place: Settings, other: Mapping[str, Any]) -> UsageError:
    where = f", at {other['address']}" if other else ""
    if other.get("project", str(place.root)) == str(place.root):
        return UsageError(f"`nightgate up` runs already for {place.root.name}{where}.", remedy="Ctrl-C where it runs ends it.")
    return UsageError(f"`nightgate up` runs already for the store {place.store.url}, of the project {other['project']}{where}.",
                      remedy="Give each project a store of its own (NIGHTGATE_STORE), or end that one.")


def _demand_closed(host: str) -> None:
    if host not in LOOPBACK and AUTH not in os.environ:
        raise UsageError(f"The server would answer anybody who reaches {host}.",
                         remedy=f"Set {AUTH}=admin:… first, and PREFECT_API_AUTH_STRING to the same where it is asked.")


def _demand_one_password() -> None:
    if AUTH in os.environ and os.environ.get(ASKED, os.environ[AUTH]) != os.environ[AUTH]:
        raise UsageError(f"{ASKED} is another password than {AUTH}: the server would refuse its own runner.",
                         remedy=f"Set both alike, or leave {ASKED} out.")


def _demand_free(host: str, port: int) -> None:
    from nightgate.serving.running import listener

    listener(host, port).close()


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


def _answered(place: Settings, address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(1_200):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise UsageError(f"The server did not start. It said: {_last_word(place)}", remedy="`.nightgate/up.log` has the whole.")


def _last_word(place: Settings) -> str:
    lines = _log(place).read_text(errors="replace").splitlines()
    return bounded(next((line.strip() for line in reversed(lines) if line.strip()), "nothing"), 500)


def _lock(place: Settings) -> Path:
    return place.root / ".nightgate" / "up.lock"


def _log(place: Settings) -> Path:
    return place.root / ".nightgate" / "up.log"
