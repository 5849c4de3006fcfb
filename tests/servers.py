"""Servers that tests start for themselves, on free ports of this machine: PostgreSQL and Prefect."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
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
            until_answered(f"{address}/health", server)
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


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """Give the URL of an empty Redis."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Redis is not installed; .ci/run installs it.")
        pytest.skip("Redis is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nightgate-redis-") as folder:
        server = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder],
                                  stdout=subprocess.DEVNULL)
        try:
            _listens(port, server)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(30)


@contextlib.contextmanager
def object_store(bucket: str) -> Iterator[str]:
    """Run moto's server, which speaks S3, with an empty bucket, and set what clients read from the environment; give the bucket's URL."""
    import boto3

    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "nightgate", "AWS_SECRET_ACCESS_KEY": "s3cret",
           "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in own.items():
                patched.setenv(name, value)
            _listens(port, server)
            boto3.client("s3").create_bucket(Bucket=bucket)
            yield f"s3://{bucket}"
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def dask_cluster(folder: Path, *, workers: int, **environment: str) -> Iterator[str]:
    """Run a Dask scheduler and workers of one thread each in a folder, as processes; give the scheduler's address."""
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    words = [["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
             *[["dask_worker", address, "--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "60"]] * workers]
    started = [subprocess.Popen([sys.executable, "-m", f"distributed.cli.{each[0]}", *each[1:]], cwd=folder,
                                env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for each in words]
    try:
        _listens(port, started[0])
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until_answered(address: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server answers, or fail when it has ended."""
    def ask() -> None:
        urllib.request.urlopen(address, timeout=1).close()

    _until(ask, server)


def _listens(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Wait until a server takes connections, or fail when it has ended."""
    _until(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), server)


def _until(ask: Callable[[], None], server: "subprocess.Popen[bytes]") -> None:
    for _ in range(1_200):
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode} before it answered")
        try:
            ask()
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.1)
        else:
            return
    pytest.fail("the server did not answer")


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
