"""What Prometheus reads: requests, their time, what serves. Processes of one service leave their numbers in files and add them up."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
"""Seconds of the buckets."""


class Metrics:
    """Counts of one process, by name and labels."""

    def __init__(self, folder: Path | None = None) -> None:
        self.requests: Counter[tuple[str, str, str, str]] = Counter()
        self.rows: Counter[tuple[str, str, str]] = Counter()
        self.seconds: Counter[str] = Counter()
        self.buckets: Counter[tuple[str, str]] = Counter()
        self.log_failures = 0
        self.folder = folder

    def add(self, model: str, version: int, consumer: str, code: int, rows: int, seconds: float) -> None:
        """Count one request."""
        shown = str(version)
        self.requests[model, shown, consumer, str(code)] += 1
        self.rows[model, shown, consumer] += rows
        self.seconds[model] += seconds  # type: ignore[assignment] # a Counter adds floats as well
        for bound in BOUNDS:
            if seconds <= bound:
                self.buckets[model, repr(bound)] += 1
                break
        else:
            self.buckets[model, "+Inf"] += 1

    def leave(self) -> None:
        """Leave this process's numbers for the others of the service."""
        if self.folder is not None:
            partial = self.folder / f".{os.getpid()}"
            partial.write_text(json.dumps([[list(key), value] for key, value in self._flat()]))
            partial.replace(self.folder / f"{os.getpid()}.json")

    def _flat(self) -> Iterable[tuple[tuple[str, ...], float]]:
        for name, counter in (("requests", self.requests), ("rows", self.rows), ("buckets", self.buckets)):
            for key, value in counter.items():
                yield (name, *key), value
        for model, value in self.seconds.items():
            yield ("seconds", model), value
        yield ("log_failures",), self.log_failures

    def text(self, serving: dict[str, int]) -> str:
        """Return the numbers of all processes in Prometheus' text format."""
        whole: Counter[tuple[str, ...]] = Counter()
        for key, value in self._flat():
            whole[key] += value  # type: ignore[assignment]
        if self.folder is not None:
            for path in self.folder.glob("*.json"):
                if path.stem != str(os.getpid()):
                    for key, value in json.loads(path.read_text()):
                        whole[tuple(key)] += value
        return _text(whole, serving)


def _text(whole: "Counter[tuple[str, ...]]", serving: dict[str, int]) -> str:
    lines = _family("nightgate_requests_total", "Requests answered, by what came of them.", whole, "requests",
                    ("model", "version", "consumer", "code"))
    lines += _family("nightgate_predictions_total", "Rows answered.", whole, "rows", ("model", "version", "consumer"))
    lines += ["# HELP nightgate_request_seconds Time from the whole request to the answer.", "# TYPE nightgate_request_seconds histogram"]
    for model in sorted(key[1] for key in whole if key[0] == "seconds"):
        count = 0.0
        for bound in [*map(repr, BOUNDS), "+Inf"]:
            count += whole["buckets", model, bound]
            lines.append(f'nightgate_request_seconds_bucket{{model="{_quoted(model)}",le="{bound}"}} {count:g}')
        lines += [f'nightgate_request_seconds_sum{{model="{_quoted(model)}"}} {whole["seconds", model]}',
                  f'nightgate_request_seconds_count{{model="{_quoted(model)}"}} {count:g}']
    lines += ["# HELP nightgate_log_failures_total Answers that were withheld because the log could not be written.",
              "# TYPE nightgate_log_failures_total counter", f"nightgate_log_failures_total {whole[('log_failures',)]:g}",
              "# HELP nightgate_serving_version The version that serves.", "# TYPE nightgate_serving_version gauge"]
    lines += [f'nightgate_serving_version{{model="{_quoted(model)}"}} {version}' for model, version in sorted(serving.items())]
    return "\n".join(lines) + "\n"


def _family(name: str, told: str, whole: "Counter[tuple[str, ...]]", kind: str, labels: Sequence[str]) -> list[str]:
    lines = [f"# HELP {name} {told}", f"# TYPE {name} counter"]
    for key, value in sorted(whole.items()):
        if key[0] == kind:
            written = ",".join(f'{label}="{_quoted(each)}"' for label, each in zip(labels, key[1:], strict=True))
            lines.append(f"{name}{{{written}}} {value:g}")
    return lines


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
