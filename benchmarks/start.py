"""What a person waits for: the help, the check, and a small model with a server running."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import Claim, report
from benchmarks.processes import spent
from benchmarks.retraining import ROOT

IMPORTS = "import prefect, great_expectations, mlflow, sklearn.ensemble, pandas"


def measure(quick: bool) -> list[Claim]:
    """Time each in turn; medians of five, of one for a quick look."""
    runs = 1 if quick else 5
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as environment:
        folder = Path(name)
        nightgate = [sys.executable, "-m", "nightgate"]
        (folder / "empty").mkdir()
        helped = _median(runs, [*nightgate, "--help"], environment)
        cold = spent([*nightgate, "check"], folder=ROOT, environment=environment).seconds
        warm = _median(runs, [*nightgate, "check"], environment)
        ratios = [_once([*nightgate, "run", "breast_cancer"], environment) / _once([sys.executable, "-c", IMPORTS], environment)
                  for _ in range(runs)]
    return [Claim("seconds of `nightgate --help`", helped, 0.3), Claim("seconds of `nightgate check`, first call", cold, 5.0),
            Claim("seconds of `nightgate check`", warm, 1.0),
            Claim("time of a small model / of importing what it is made of", statistics.median(ratios), 2.0)]


def _median(runs: int, command: Sequence[str], environment: dict[str, str]) -> float:
    return statistics.median(_once(command, environment) for _ in range(runs))


def _once(command: Sequence[str], environment: dict[str, str]) -> float:
    return spent(command, folder=ROOT, environment=environment).seconds


class _server:  # noqa: N801 - used as a with statement's verb
    """A Prefect server for the time of the block; gives the environment that uses it and a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> dict[str, str]:
        port = 4_000 + os.getpid() % 1_000
        environment = {**os.environ, "PREFECT_HOME": str(self.folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                       "DO_NOT_TRACK": "1", "PREFECT_SERVER_API_PORT": str(port), "NIGHTGATE_STORE": str(self.folder / "store")}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}/api"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        return {**environment, "PREFECT_API_URL": address}

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)


if __name__ == "__main__":
    report(measure, __doc__ or "")
