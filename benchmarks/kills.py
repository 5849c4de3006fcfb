"""Kills at random moments of running nights: the run, the runner, the server, `up`, or all at once.

`NIGHTGATE_KILLS=150 python -m benchmarks.kills` goes on where `benchmarks/results/kills.jsonl` ends: one line a kill, with what
was killed, in which stage, and what was found afterwards. Nothing may be lost: each night has its run, one champion that verifies
and is the one that the registry names, no process is left behind.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.claims import Claim, report
from nightgate import client
from nightgate.errors import SourceUnavailable
from nightgate.records import history
from nightgate.registry import reconcile
from nightgate.releases import read_pointer, verify
from nightgate.settings import Settings, settings
from nightgate.skeleton import write

LEDGER = Path(__file__).parent / "results" / "kills.jsonl"
TARGETS = ("run", "runner", "server", "up", "all")
MODEL = "kills"
DEFINITION = """
name = "kills"
task = "binary"
target = "defaulted"
positive = "yes"
entity = "applicant"
time = "applied_at"
[source]
data = "stream:credit_applications?rows_per_day=60"
arrived = "known_at"
[window]
days = 200
[candidates.logistic]
estimator = "logistic"
search = { C = [0.1, 1.0] }
[training]
salt = "kills"
[schedule]
missed = "all"
"""
LONGEST = 180


@dataclass(frozen=True)
class Kill:
    """One kill and what was found when the night had its verdict. `lost`, `half`, `wrong`, `orphans` must all be empty."""

    number: int
    target: str
    stage: str
    night: str
    lost: str = ""
    half: str = ""
    wrong: str = ""
    orphans: int = 0
    seconds: float = 0.0


class Installation:
    """A project with `nightgate up`, started again whenever it has ended."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.up: subprocess.Popen[bytes] | None = None
        self.api = f"http://127.0.0.1:{port}/api"

    @property
    def place(self) -> Settings:
        return settings(self.folder)

    def ensure(self) -> None:
        """Have `up` running, its deployments written."""
        if self.up is None or self.up.poll() is not None:
            environment = {**os.environ, "NIGHTGATE_PROJECT": str(self.folder)}
            self.up = subprocess.Popen([sys.executable, "-m", "nightgate", "up", "--port", str(self.port)], cwd=self.folder,
                                       env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until(lambda: self.ask("/automations/filter", {}))
        self.ask(f"/deployments/{until(self._nightly)}", {"paused": True}, method="PATCH")  # nights come from here alone

    def _nightly(self) -> str:
        return str(next(each["id"] for each in self.ask("/deployments/filter", {})
                        if each["name"] == MODEL and "retraining" in each["entrypoint"]))

    def ask(self, path: str, body: Any, *, method: str = "POST") -> Any:
        return client.ask(method, path, body, api=self.api)

    def start(self, night: date) -> None:
        """Have a night due, as the schedule does."""
        due = datetime(night.year, night.month, night.day, 2, tzinfo=UTC)
        self.ask(f"/deployments/{self._nightly()}/create_flow_run",
                 {"parameters": {"model": MODEL}, "tags": ["night"], "idempotency_key": f"{MODEL} {night}",
                  "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}})

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes by what they are: server, runner, runs."""
        found: dict[str, list[psutil.Process]] = {"server": [], "runner": [], "run": [], "up": []}
        for process in psutil.process_iter(["cmdline", "pid"]):
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.info["cmdline"] or [])
                if process.environ().get("NIGHTGATE_PROJECT") != str(self.folder) or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if "forkserver" in words:
                    found["run"].append(process)
                elif "flows.runner" in words:
                    found["runner"].append(process)
                elif "prefect server" in words or "uvicorn" in words:
                    found["server"].append(process)
                elif "nightgate up" in words:
                    found["up"].append(process)
        # the fork server itself is no run: the runs are its children
        runners = {each.pid for each in found["runner"]}
        found["run"] = [process for process in found["run"] if _parent_of(process) not in runners]
        return found

    def left(self) -> int:
        return sum(map(len, self.processes().values()))

    def kill(self, target: str) -> None:
        processes = self.processes()
        for kind in (("run", "runner", "server", "up") if target == "all" else (target,)):
            for process in processes[kind]:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)

    def end(self) -> int:
        """End all; return how many processes were left behind."""
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            self.up.wait(90)
        left = [process for group in self.processes().values() for process in group]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(left)


def until(ready: Any, seconds: float = LONGEST) -> Any:
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        with contextlib.suppress(OSError, SourceUnavailable, StopIteration):
            if found := ready():
                return found
        time.sleep(0.1)
    return None


def stage_of(place: Settings) -> str:
    """Return the stage that the newest note of the newest run tells of."""
    folder = Path(place.store_url) / "runs" / MODEL
    notes = sorted((path for path in folder.glob("*/notes/*.json")), key=lambda path: path.stat().st_mtime_ns)
    return f"after {notes[-1].stem}" if notes else "before begin"


def kills(installation: Installation, numbers: range, seed: int) -> Iterator[Kill]:
    """Kill once a night, at a random moment of it, and look what is there when the night has its verdict."""
    for number in numbers:
        chance = random.Random(seed * 1_000_003 + number)
        night, target, begin = date(2025, 6, 1) + timedelta(days=number), TARGETS[number % len(TARGETS)], time.monotonic()
        installation.ensure()
        installation.start(night)
        place = installation.place
        until(lambda: installation.processes()["run"], 20)
        time.sleep(chance.uniform(0.0, 6.0))
        stage = stage_of(place)
        installation.kill(target)
        orphans = 0
        if target != "run" and installation.up is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                installation.up.wait(60)
            until(lambda: not installation.left(), 20)  # who was loading hears of it when that is done
            orphans = installation.left()
        installation.ensure()
        done = until(partial(_has_verdict, place, str(night)))
        yield Kill(number, target, stage, str(night), "" if done else "the night has no verdict", *_found(place), orphans,
                   round(time.monotonic() - begin, 1))


def _parent_of(process: psutil.Process) -> int:
    """Return a process's parent, 0 where it has ended meanwhile."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0


def _has_verdict(place: Settings, night: str) -> bool:
    return any(record.as_of == night and record.verdict in ("promoted", "kept") and record.scheduled
               for record in history(place.store, MODEL))


def _found(place: Settings) -> tuple[str, str]:
    """Return what is half promoted and what is wrong about the champion."""
    half = wrong = ""
    pointer = read_pointer(place.store, MODEL)
    if pointer is None:
        return "nothing serves", ""
    try:
        verify(place, MODEL, pointer.version, pointed=pointer.manifest_sha256)
    except Exception as error:  # whatever it is, the champion does not serve
        half = f"{type(error).__name__}: {error}"[:300]
    promoted = [record.run for record in history(place.store, MODEL) if record.verdict == "promoted"]
    if promoted and pointer.version != promoted[-1]:
        wrong = f"run {pointer.version} serves, run {promoted[-1]} was promoted last"
    mended = reconcile(place, MODEL)
    return half, wrong or "; ".join(mended)


def measure(quick: bool) -> list[Claim]:
    """Go on with the ledger, up to NIGHTGATE_KILLS in all (500 when absent); ten in a ledger of their own for a quick look."""
    from tests.servers import free_port

    with tempfile.TemporaryDirectory(prefix="nightgate-kills-") as folder:
        ledger = Path(folder) / "kills.jsonl" if quick else LEDGER
        ledger.parent.mkdir(exist_ok=True)
        done = len(ledger.read_text().splitlines()) if ledger.exists() else 0
        installation = Installation(_project(Path(folder) / "project"), free_port())
        try:
            with ledger.open("a") as file:
                for kill in kills(installation, range(done, 10 if quick else int(os.environ.get("NIGHTGATE_KILLS", "500"))), seed=7):
                    file.write(json.dumps(asdict(kill)) + "\n")
                    file.flush()
                    print(kill, file=sys.stderr, flush=True)
        finally:
            left = installation.end()
        found = [Kill(**json.loads(line)) for line in ledger.read_text().splitlines()]
    names = (("lost nights", "lost"), ("half promotions", "half"), ("wrong champions", "wrong"), ("orphan processes", "orphans"))
    return [Claim(f"{name} in {len(found)} kills", sum(bool(getattr(kill, field)) for kill in found), 0) for name, field in names] \
        + [Claim("processes left at the end", left, 0)]


def _project(place: Path) -> Path:
    """Make a project with one model, whose nights nobody starts but this benchmark."""
    write(place)
    for path in place.glob("models/*.toml"):
        path.unlink()
    (place / "models" / f"{MODEL}.toml").write_text(DEFINITION)
    shutil.copytree(place / "data_contracts/credit_applications", place / f"data_contracts/{MODEL}")
    for path in (place / f"data_contracts/{MODEL}").glob("*.json"):
        path.write_text(path.read_text().replace("credit_applications.", f"{MODEL}."))
    return place


if __name__ == "__main__":
    report(measure, __doc__ or "")
