"""Wall time and peak memory of a command with all its children."""

import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLED_EVERY = 0.1
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Spent:
    """`peak`: bytes of the whole process tree, pages shared by several counted once (PSS)."""

    seconds: float
    peak: int
    output: str


def spent(command: Sequence[str], *, folder: Path, environment: dict[str, str] | None = None) -> Spent:
    """Run a command to its end; raise CalledProcessError when it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak, ended = [0], threading.Event()
    watch = threading.Thread(target=_watch, args=(process.pid, peak, ended))
    watch.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - begin
    ended.set()
    watch.join()
    if process.returncode not in (0,):
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Spent(seconds, peak[0], output)


def _watch(number: int, peak: list[int], ended: threading.Event) -> None:
    while not ended.wait(SAMPLED_EVERY):
        with suppress(psutil.Error):
            root = psutil.Process(number)
            peak[0] = max(peak[0], sum(_held(each) for each in (root, *root.children(recursive=True))))


def _held(process: psutil.Process) -> int:
    with suppress(psutil.Error, AttributeError):
        return int(process.memory_full_info().pss)
    return 0
