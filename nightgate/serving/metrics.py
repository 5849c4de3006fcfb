"""What Prometheus reads: requests, their time, what serves. Processes of one service leave their numbers in files and add them up."""

import json
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
"""Seconds of the buckets."""

BUCKETS = (*map(repr, BOUNDS), "+Inf")
Sample = tuple[str, Mapping[str, str], float]
"""The end of a sample's name, its labels and its value."""


class Metrics:
    """Counts of one process, by what is counted and its labels."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.counts: defaultdict[tuple[str, ...], float] = defaultdict(float)

    def add(self, model: str, version: int, consumer: str, code: int, rows: int, seconds: float) -> None:
        """Count one request."""
        shown, counts = str(version), self.counts
        counts["requests", model, shown, consumer, str(code)] += 1
        counts["rows", model, shown, consumer] += rows
        counts["seconds", model] += seconds
        counts["buckets", model, BUCKETS[bisect_left(BOUNDS, seconds)]] += 1

    def leave(self) -> None:
        """Leave this process's numbers for the others of the service."""
        if self.folder is not None:
            partial = self.folder / f".{os.getpid()}"
            partial.write_text(json.dumps([*self.counts.items()]))
            partial.replace(self.folder / f"{os.getpid()}.json")

    def text(self, serving: dict[str, int]) -> str:
        """Return the numbers of all processes in Prometheus' text format."""
        whole = Counter(self.counts)
        for path in self.folder.glob("*.json") if self.folder is not None else ():
            if path.stem != str(os.getpid()):
                whole.update({tuple(key): value for key, value in json.loads(path.read_text())})

        def counted(kind: str, *labels: str) -> Iterator[Sample]:
            return (("", dict(zip(labels, key[1:], strict=True)), value) for key, value in sorted(whole.items()) if key[0] == kind)

        return "".join((
            family("nightgate_requests_total", "Requests answered, by what came of them.", "counter",
                   counted("requests", "model", "version", "consumer", "code")),
            family("nightgate_predictions_total", "Rows answered.", "counter", counted("rows", "model", "version", "consumer")),
            family("nightgate_request_seconds", "Time from the whole request to the answer.", "histogram", _times(whole)),
            family("nightgate_log_failures_total", "Answers that were withheld because the log could not be written.", "counter",
                   [("", {}, whole["log_failures",])]),
            family("nightgate_serving_version", "The version that serves.", "gauge",
                   (("", {"model": model}, version) for model, version in sorted(serving.items())))))


def _times(whole: Mapping[tuple[str, ...], float]) -> Iterator[Sample]:
    for model in sorted(key[1] for key in whole if key[0] == "seconds"):
        count = 0.0
        for bucket in BUCKETS:
            count += whole["buckets", model, bucket]
            yield "_bucket", {"model": model, "le": bucket}, count
        yield "_sum", {"model": model}, whole["seconds", model]
        yield "_count", {"model": model}, count


def family(name: str, told: str, kind: str, samples: Iterable[Sample]) -> str:
    """Return one metric in Prometheus' text format."""
    lines = [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
    for end, labels, value in samples:
        written = ",".join(f'{label}="{_quoted(each)}"' for label, each in labels.items())
        lines.append(f"{name}{end}{f'{{{written}}}' if written else ''} {value:.15g}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
