"""What orchestration costs: `nightgate up` until it schedules, a trigger until its first stage, a run beside plain functions.

The model is `breast_cancer`. Plain functions are called in a process that has imported them, as the runner's forks have. Medians of
runs; the parts are told on stderr.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.claims import Claim, report
from nightgate.client import Triggered, ask, trigger, wait
from nightgate.skeleton import write

MODEL = "breast_cancer"
PLAIN = f"""
import time
import flows.retraining
from joblib import cpu_count
from nightgate import plain
from nightgate.nights import night
from nightgate.settings import settings
begin = time.perf_counter()
place = settings()
with night(place, "{MODEL}", run_id=str(begin)) as tonight:
    plain.retrain(tonight, threads=cpu_count())
print(time.perf_counter() - begin)
"""


def measure(quick: bool) -> list[Claim]:
    """Start `up` twice, once on an empty folder, and trigger some runs."""
    from tests.servers import free_port

    runs = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="nightgate-overhead-") as name:
        write(folder := Path(name))
        port = free_port()
        with _up(folder, port) as cold:
            pass
        with _up(folder, port) as warm:
            api = f"http://127.0.0.1:{port}/api"
            parts = [_run(api) for _ in range(runs)]
        whole = statistics.median(sum(each) for each in parts)
        plainly = statistics.median(_plainly(folder) for _ in range(runs))
    waits, starts, stages, ends = (statistics.median(each) for each in zip(*parts, strict=True))
    print(f"until the run starts {waits:.1f} s, until its first stage {starts:.1f} s, its stages {stages:.1f} s, until it has ended "
          f"{ends:.1f} s; plainly {plainly:.1f} s", file=sys.stderr)
    return [Claim("seconds of `up` until a night is scheduled, first time", cold, 40.0),
            Claim("seconds of `up` until a night is scheduled, again", warm, 30.0),
            Claim("seconds from a trigger to the first stage", waits + starts, 5.0),
            Claim("seconds of a triggered run more than of plain functions", whole - plainly, 6.0)]


@contextlib.contextmanager
def _up(folder: Path, port: int) -> Iterator[float]:
    """Run `nightgate up`; give the seconds until a night is scheduled."""
    begin, api = time.monotonic(), f"http://127.0.0.1:{port}/api"
    up = subprocess.Popen([sys.executable, "-m", "nightgate", "up", "--port", str(port)], cwd=folder, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env={**os.environ, "PREFECT_HOME": str(folder / "prefect")})
    try:
        _until(lambda: urllib.request.urlopen(f"{api}/health", timeout=5).close() or True)
        _until(lambda: ask("POST", "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}, api=api))
        yield time.monotonic() - begin
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(90)


def _until(ready: Callable[[], Any]) -> None:
    while True:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.1)


def _run(api: str) -> tuple[float, float, float, float]:
    """Trigger a run; return the seconds until it starts, from there to its first stage, of its stages, and until it has ended."""
    begin = time.time()
    run: Triggered = trigger(MODEL, api=api)
    wait(run, poll=0.2, api=api)
    found = ask("GET", f"/flow_runs/{run.run_id}", api=api)
    tasks = ask("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run.run_id]}}}, api=api)
    started, ended = _moment(found["start_time"]), _moment(found["end_time"])
    first, last = min(_moment(each["start_time"]) for each in tasks), max(_moment(each["end_time"]) for each in tasks)
    return started - begin, first - started, last - first, ended - last


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _plainly(folder: Path) -> float:
    ended = subprocess.run([sys.executable, "-c", PLAIN], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, check=True,
                           capture_output=True, text=True)
    return float(ended.stdout.split()[-1])


if __name__ == "__main__":
    report(measure, __doc__ or "")
