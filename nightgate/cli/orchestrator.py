"""The few lines of the command line that know Prefect: how a flow is started in this process."""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, TextIO

from nightgate.errors import UsageError
from nightgate.settings import Settings


def prepare(place: Settings) -> None:
    """Set what Prefect reads from the environment when it is imported; what is set already stays."""
    results = place.store.folder("results") if place.store.local else place.root / ".nightgate" / "results"
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(results),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "nightgate",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name in ("nightgate", "nightgate_begun"):
        logging.getLogger(name).setLevel(logging.INFO)


def retrain(place: Settings, model: str, *, as_of: date | None, overrides: Mapping[str, str], reason: str) -> dict[str, Any]:
    """Run the retraining flow of one model here and now; return its record. Raises what the flow raises."""
    prepare(place)
    _start_embedded_server()
    from flows.retraining import retraining

    return dict(retraining(model, as_of=as_of, overrides=dict(overrides), reason=reason))


def _start_embedded_server() -> None:
    """Start Prefect's embedded server, where no other is named, so that Ctrl-C does not reach it: it must hear how the run ended.

    A process keeps the signals that are blocked where it is started, and a thread has signals of its own.
    """
    if os.environ.get("PREFECT_API_URL"):
        return
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    if get_current_settings().api.url:
        return

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        SubprocessASGIServer().start()

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join()


def run_everything(place: Settings, port: int, *, told: TextIO) -> str:
    """Start a server and what runs the schedules, and keep both until Ctrl-C; return the address of the pages.

    Raises UsageError when it runs already or the port is taken.
    """
    address = f"http://127.0.0.1:{port}"
    with _only_one(place), contextlib.ExitStack() as ended:
        _demand_free(port)
        prepare(place)
        os.environ |= {"PREFECT_API_URL": f"{address}/api", "PREFECT_SERVER_API_PORT": str(port), "PYTHONPATH": str(place.root),
                       "NIGHTGATE_PROJECT": str(place.root)}
        print("Starting the server …", file=told, flush=True)
        server = _started(ended, place, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        _answered(f"{address}/api/health", server)
        schedules = _started(ended, place, "-m", "flows.serving")
        print(f"{address} shows all runs; Ctrl-C ends everything.", file=told, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while server.poll() is None and schedules.poll() is None:
                time.sleep(0.5)
    return address


@contextlib.contextmanager
def _only_one(place: Settings) -> Iterator[None]:
    """Hold the project's own lock: the system takes it away from a process that dies."""
    path = place.root / ".nightgate" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"`nightgate up` runs already for {place.root.name}.", remedy="Ctrl-C where it runs ends it.") from None
        yield


def _demand_free(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"Port {port} cannot be used: {error.strerror}.", remedy="Name another with --port.") from None


def _started(ended: contextlib.ExitStack, place: Settings, *words: str) -> "subprocess.Popen[bytes]":
    """Start a Python process in a group of its own, which ends with the stack."""
    log = (place.root / ".nightgate" / "up.log").open("ab")
    process = subprocess.Popen([sys.executable, *words], cwd=place.root, stdout=log, stderr=log, start_new_session=True)
    ended.callback(log.close)
    ended.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


def _answered(address: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2):
            return
        if server.poll() is not None:
            break
        time.sleep(0.5)
    raise UsageError("The server did not start.", remedy="`.nightgate/up.log` says why.")


def ui_address() -> str | None:
    """Return where a running server shows its pages, or None when there is none."""
    address = os.environ.get("PREFECT_API_URL")
    return None if address is None else address.removesuffix("/api")
