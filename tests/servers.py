"""Servers that tests start for themselves, on free ports of this machine: PostgreSQL and Prefect."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Give the SQLAlchemy URL of an empty database whose user has the password `s3cret/pass`."""
    binaries = _binaries()
    if binaries is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed; .ci/run installs it.")
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="nightgate-postgresql-") as base:
        yield from _served(binaries, Path(base))


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """Give the API address of a real Prefect server with a database of its own, and use it in this process."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory(prefix="nightgate-prefect-") as home:
        environment = {**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
                       "PREFECT_SERVER_API_PORT": str(port), "PREFECT_SERVER_LOGGING_LEVEL": "ERROR"}
        server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                                  env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _answered(f"{address}/health", server)
            from prefect.settings import (
                PREFECT_API_URL,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
                PREFECT_HOME,
                PREFECT_LOCAL_STORAGE_PATH,
                PREFECT_LOGGING_TO_API_ENABLED,
                temporary_settings,
            )

            with temporary_settings({PREFECT_API_URL: address, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_HOME: Path(home),
                                     PREFECT_LOCAL_STORAGE_PATH: Path(home) / "results",
                                     PREFECT_LOGGING_TO_API_ENABLED: False}):  # else the end waits for a server that has gone
                yield address
        finally:
            server.terminate()
            server.wait(120)  # it ends within seconds where the processors are free


@pytest.fixture
def empty_server(prefect_api: str) -> Iterator[None]:
    """Leave the server without deployments before a test and after it: a server has one project."""
    from prefect import get_client

    def clear() -> None:
        with get_client(sync_client=True) as client:
            for each in client.read_deployments():
                client.delete_deployment(each.id)

    clear()
    yield
    clear()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answered(address: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers, or fail when it has ended."""
    for _ in range(1_200):
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode} before it answered")
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
        else:
            return
    pytest.fail(f"{address} did not answer")


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


def _served(binaries: Path, base: Path) -> Iterator[str]:
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    data, password = base / "data", base / "password"
    password.write_text("s3cret/pass")
    if user is not None:
        shutil.chown(base, user)
        shutil.chown(password, user)
    port = free_port()

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=base, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    control = str(binaries / "pg_ctl")
    run(str(binaries / "initdb"), "-D", str(data), "-U", "reader", "-A", "scram-sha-256", "-E", "UTF8",
        f"--pwfile={password}", "--no-sync")
    options = f"-h 127.0.0.1 -p {port} -k {base} -c fsync=off"
    run(control, "-D", str(data), "-o", options, "-l", str(base / "log"), "-w", "start")
    try:
        yield f"postgresql://reader:s3cret%2Fpass@127.0.0.1:{port}/postgres"
    finally:
        run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
