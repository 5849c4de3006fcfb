"""Servers that tests start for themselves: a private PostgreSQL on a free port of this machine."""

import os
import shutil
import socket
import subprocess
import tempfile
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

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
