"""Processes of this machine: which are alive, and ending with the one that started them."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def end_with(process: int) -> None:
    """Have this process end when another one of this machine does, however that happens; on Linux only. `process` is its number."""
    if sys.platform != "linux":
        return
    if os.getppid() == process:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        with contextlib.suppress(OSError):  # it is dead already
            threading.Thread(target=_follow, args=(os.pidfd_open(process),), daemon=True).start()
    if not started(process):  # it died before that was set
        os.kill(os.getpid(), signal.SIGKILL)


def _follow(process: int) -> None:
    """Wait for the end of a process by its file descriptor, and end this one."""
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def host() -> str:
    """Name this machine, with its boot, since containers share host names and process numbers come again."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), boot.read_text().strip() if boot.exists() else ""]
    with contextlib.suppress(OSError):
        parts.append(str(namespace.readlink()))
    return ".".join(parts)


def mark() -> str:
    """Return what tells this process from every other, on all machines and after all boots."""
    return f"{host()}|{os.getpid()}|{started(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Say whether a marked process ran on this very machine and is dead; of another machine's nothing is known."""
    machine, process, since = mark.rsplit("|", 2)
    return machine == host() and started(int(process)) != since


def started(process: int) -> str:
    """Return when a process of this machine started, '' when there is none (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self").exists() else _alive(process)
    return "" if fields[0] == "Z" else fields[19]


def _alive(process: int) -> str:
    """Return a mark for a living process where there is no /proc, as on macOS."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
