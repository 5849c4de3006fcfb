"""Flows in this very process: with Prefect's embedded server where no other is named, and without a thread that says it lives."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings


@contextlib.contextmanager
def without_heartbeat() -> Iterator[None]:
    """Run flows without Prefect's heartbeat, for which each waits a second at its end: that a run lives is known by its lease."""
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def start() -> None:
    """Start the embedded server so that Ctrl-C does not reach it, since it must hear how the run ended; nothing where a server is named.

    A process keeps the signals that are blocked where it is started, and a thread has signals of its own.
    """
    if get_current_settings().api.url:
        return
    starting = threading.Thread(target=_start, daemon=True)
    starting.start()
    starting.join()


def _start() -> None:
    from prefect.server.api.server import SubprocessASGIServer  # two seconds, where a server is named for nothing

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    SubprocessASGIServer().start()
