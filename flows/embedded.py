"""Prefect's embedded server, where no other is named."""

import signal
import threading

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings


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
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    SubprocessASGIServer().start()
