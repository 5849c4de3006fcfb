"""Serving beside an echo on the same server and beside peers, each in an environment of its own: processor time and latency a request.

The same pipeline everywhere: 20 numeric and 10 categorical columns, histogram gradient boosting with 200 trees. The
processor time is that of the server's process and its children while a client asks over 16 connections at once; latency is that of one
connection alone. Medians of rounds.
`NIGHTGATE_LONG=1` also scores 10 million rows, beside mlflow's pyfunc on the same file.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import psutil

from benchmarks.claims import Claim, report
from nightgate.authoring import Wanted, make
from nightgate.releases import promote, read_release
from nightgate.settings import Settings

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("NIGHTGATE_PEERS", Path.home() / ".cache/nightgate/peers"))
PINNED = ("scikit-learn==1.9.1", "pandas", "uvicorn", "uvloop", "httptools")
CONNECTIONS = 16
WANTED = {"onnx": ("onnxruntime", "skl2onnx", "protobuf<7", "fastapi<0.151"), "mlflow": ("mlflow",), "bentoml": ("bentoml",)}
NUMBERS, WORDS = [f"n{place}" for place in range(20)], [f"w{place}" for place in range(10)]
BOOSTING = """
[candidates.boosting]
estimator = "boosting"
parameters = { max_iter = 200, early_stopping = false }
"""


@dataclass(frozen=True)
class Cost:
    """Of one request: processor seconds, median latency; bytes of the process that serves."""

    processor: float
    latency: float
    memory: int


def measure(quick: bool) -> list[Claim]:
    """Measure every server that can be had here, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        place = _project(Path(name), 1_000 if quick else 2_000)
        row = _rows(1, seed=9).to_dict("records")[0]
        many = {"rows": _rows(100, seed=9).to_dict("records")}
        rounds, few = (1, 200) if quick else (5, 2_000)
        with _nightgate(place) as (port, process):
            one = _asked(port, process, "/models/credit/predict", row, rounds, few)
            hundred = _asked(port, process, "/models/credit/predict", many, rounds, few // 20)
        with _server([sys.executable, "-m", "benchmarks.servers.echo"], HERE.parent) as (port, process):
            echo = _asked(port, process, "/", row, rounds, few)
        claims = [Claim("processor time of one row / of an echo", one.processor / echo.processor, 3),
                  Claim("MiB of the process that serves", one.memory / 2**20, 80),
                  Claim("milliseconds of processor, one row", one.processor * 1e3, 1),
                  Claim("milliseconds of processor, 100 rows", hundred.processor * 1e3, 100)]
        claims.append(Claim("seconds from the command to the first answer", statistics.median(_start(place) for _ in range(rounds)), 1.0))
        claims += [*_peers(place, Path(name), row, many, one, hundred, rounds, few)]
        claims += _swaps(place, row, 5_000 if quick else 100_000)
        if os.environ.get("NIGHTGATE_LONG"):
            claims += _batch(place, Path(name))
    return claims


def _start(place: Settings) -> float:
    begin = time.perf_counter()
    with _nightgate(place) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/ready")
        if connection.getresponse().status != 200:
            raise RuntimeError("it answers, and is not ready")
        return time.perf_counter() - begin


def _peers(place: Settings, folder: Path, row: object, many: object, one: Cost, hundred: Cost, rounds: int, few: int) -> Iterator[Claim]:
    joblib.dump(read_release(place, "credit", 1).pipeline, folder / "pipeline.joblib")
    bars = {"onnx": 3.0, "mlflow": 100.0, "bentoml": 100.0}
    for name, bar in bars.items():
        python = _environment(name)
        if python is None:
            print(f"{name}: its environment cannot be made here", file=sys.stderr)
            continue
        with _server([str(python), str(HERE / f"servers/{name}_server.py"), str(folder)], folder) as (port, process):
            path = "/invocations" if name == "mlflow" else "/predict"
            word = "dataframe_records" if name == "mlflow" else "rows"
            slower = 1 if name == "onnx" else 10
            found = _asked(port, process, path, {word: [row]}, rounds, few // slower)
            print(f"{name}: {found.processor * 1e3:.3f} ms of processor, {found.latency * 1e3:.3f} ms a request", file=sys.stderr)
            yield Claim(f"processor time of {name}, one row / ours", found.processor / one.processor, bar, at_least=True)
            if name == "onnx":
                other = _asked(port, process, path, many, rounds, few // 20)
                yield Claim("processor time of 100 rows / of onnxruntime's service", hundred.processor / other.processor, 1.2)


def _asked(port: int, process: psutil.Process, path: str, value: object, rounds: int, count: int) -> Cost:
    """Ask `count` times a round: for processor time over several connections at once, as a busy service is asked, for latency over one.

    The client never sleeps, so that waking it up, which costs a virtual machine as much as a request, is no server's work.
    """
    body = json.dumps(value).encode()
    headers = ("host: 127.0.0.1", "content-type: application/json", f"content-length: {len(body)}")
    request = "\r\n".join((f"POST {path} HTTP/1.1", *headers, "", "")).encode() + body
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.setblocking(False)

        def ask(several: int) -> float:
            begin = time.perf_counter()
            for connection in connections[:several]:
                connection.sendall(request)
            for connection in connections[:several]:
                _answer(connection, path)
            return time.perf_counter() - begin

        for _ in range(max(count // 10 // CONNECTIONS, 5)):
            ask(CONNECTIONS)
        spent, latencies = [], list[float]()
        for _ in range(rounds):
            before = _spent(process)
            for _ in range(count // CONNECTIONS):
                ask(CONNECTIONS)
            spent.append((_spent(process) - before) / (count // CONNECTIONS * CONNECTIONS))
            latencies += [ask(1) for _ in range(count // CONNECTIONS)]
    memory = max(each.memory_full_info().uss for each in (process, *process.children(recursive=True)))
    return Cost(statistics.median(spent), statistics.median(latencies), memory)


def _answer(connection: socket.socket, path: str) -> None:
    """Read one answer whole."""
    found, whole = b"", None
    while whole is None or len(found) < whole:
        with contextlib.suppress(BlockingIOError):
            found += connection.recv(1 << 20)
            head, end, _ = found.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head) if end else None
            whole = len(head) + len(end) + int(length[1]) if length else whole
    if b" 200 " not in found.partition(b"\r\n")[0]:
        raise RuntimeError(f"{path}: {found[:300]!r}")


def _spent(process: psutil.Process) -> float:
    """Return the processor seconds of a process and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def _swaps(place: Settings, row: object, requests: int) -> list[Claim]:
    """Ask all the while that two versions are promoted and rolled back; every answer must be that of the version it names."""
    with _nightgate(place) as (port, _):
        connection, body = http.client.HTTPConnection("127.0.0.1", port, timeout=60), json.dumps(row).encode()
        failed = wrong = swapped = 0
        answers: dict[int, object] = {}
        for number in range(requests):
            if number % (requests // 20) == requests // 40:
                promote(place, "credit", 2 - swapped % 2, as_of="2026-11-25", why="benchmark")
                swapped += 1
            connection.request("POST", "/models/credit/predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())
            failed += answer.status != 200
            wrong += answers.setdefault(value["version"], value["predictions"]) != value["predictions"]
        if len(answers) != 2 or answers[1] == answers[2]:
            raise RuntimeError("both versions must answer, and differently")
    return [Claim(f"requests that failed of {requests:,} while {swapped} swaps", failed, 0),
            Claim("answers of a version that they do not name", wrong, 0)]


def _batch(place: Settings, folder: Path) -> list[Claim]:
    """Score 10 million rows, the same file by mlflow's pyfunc."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks.processes import spent

    blocks = (pa.Table.from_pandas(_rows(1_000_000, seed=seed), preserve_index=False) for seed in range(5, 15))
    first = next(blocks)
    with pq.ParquetWriter(folder / "large.parquet", first.schema) as writer:
        for block in itertools.chain([first], blocks):
            writer.write_table(block, row_group_size=131_072)
    ours = spent([sys.executable, "-m", "nightgate", "score", "credit", "--input", str(folder / "large.parquet"), "--output",
                  str(folder / "scored.parquet")], folder=place.root)
    claims = [Claim("GiB while 10 million rows are scored", ours.peak / 2**30, 1.0),
              Claim("seconds for 10 million rows", ours.seconds, 60)]
    if (python := _environment("mlflow")) is not None:
        theirs = spent([str(python), str(HERE / "servers/mlflow_batch.py"), str(folder)], folder=folder)
        claims.append(Claim("time of mlflow's pyfunc a row / ours", theirs.seconds / ours.seconds, 4, at_least=True))
    return claims


def _rows(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({name: random.normal(size=count).round(4) for name in NUMBERS})
    return frame.assign(**{name: random.choice(list("abcdefgh"), count) for name in WORDS})


def _project(folder: Path, rows: int) -> Settings:
    """Make a project with two versions that answer differently."""
    from tests.projects import run_plainly, settings_of

    root = folder / "project"
    (root / "models").mkdir(parents=True)
    for part in ("flows", "tasks"):
        shutil.copytree(HERE.parent / part, root / part)
    (root / "pyproject.toml").write_text("")
    place = settings_of(root)
    for seed in (0, 1):
        frame = _rows(rows, seed)
        told = sum(frame[name] for name in NUMBERS[:8]) + 2 * (frame["w0"] == "a")
        signal_of = told + np.random.default_rng(seed + 2).normal(size=rows) * 4  # no column tells so much that it looks like a leak
        frame.assign(default=np.where(signal_of > 0, "yes", "no")).to_csv(root / "data.csv", index=False)
        if seed == 0:
            made = make(place, Wanted("credit", {"data": "data.csv"}, "default"))
            made.definition.write_text(made.definition.read_text() + BOOSTING)
        run_plainly(place)
    promote(place, "credit", 1, as_of="2026-11-25", why="benchmark")
    return place


@contextlib.contextmanager
def _nightgate(place: Settings) -> Iterator[tuple[int, psutil.Process]]:
    with _server([sys.executable, "-m", "nightgate", "serve", "--port"], place.root) as found:
        yield found


@contextlib.contextmanager
def _server(command: Sequence[str], folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Start a server whose last argument is its port; wait until it accepts connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as told:
        server = subprocess.Popen([*command, str(port)], cwd=folder, stdout=told, stderr=told, start_new_session=True)
        try:
            for _ in range(12_000):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if server.poll() is not None:
                    told.seek(0)
                    raise RuntimeError(told.read()[-2_000:].decode())
                time.sleep(0.01)
            yield port, psutil.Process(server.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def _environment(name: str) -> Path | None:
    """Return the Python of a peer's environment, made once; None where it cannot be made."""
    python = PEERS / name / "bin/python"
    if not (PEERS / name / ".ready").exists():
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED, *WANTED[name]]
        made = all(subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
                   for command in ([sys.executable, "-m", "venv", str(PEERS / name)], install))
        if not made:
            return None
        (PEERS / name / ".ready").touch()
    return python


if __name__ == "__main__":
    report(measure, __doc__ or "")
