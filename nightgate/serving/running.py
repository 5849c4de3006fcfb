"""Running the service: one listener, one process or several that share it, and what it needs before it is open to others."""

import contextlib
import multiprocessing.connection
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from nightgate.errors import FileMissing, UsageError
from nightgate.serving.access import Access
from nightgate.serving.application import Service
from nightgate.serving.following import Following
from nightgate.serving.metrics import Metrics
from nightgate.settings import Settings

if TYPE_CHECKING:
    import uvicorn

RESTARTED_AFTER = 0.5
"""Seconds: where a process cannot start at all, trying again is no work."""

OWN_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Serving:
    """How to serve. `models`: all that have a release when None."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    models: Sequence[str] | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    allow_code: bool = False


def service_of(settings: Settings, serving: Serving, folder: Path | None = None) -> Service:
    """Return the service with what serves now loaded. Raises FileMissing when no model has a champion, UsageError for an open door."""
    access = Access(settings.access, workers=serving.workers)
    service = Service(settings, Following(settings, serving.models, serving.allow_code), access, Metrics(folder))
    access.follow()
    if not access.keys and serving.host not in OWN_MACHINE:
        raise UsageError(f"The service has no access keys, and {serving.host} would be open to whoever reaches it.",
                         remedy="`nightgate keys issue CONSUMER --models NAME` makes the first key.")
    service.follow()
    if not service.following.champions:
        told = [each.told for each in service.following.refused.values()]
        raise FileMissing(f"None of {', '.join(service.following.names()) or 'the models'} has a champion to serve.",
                          remedy=next(iter(told), "`nightgate run MODEL` makes one."))
    return service


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UsageError for an address that cannot be used."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2_048)
    except (OSError, OverflowError) as error:
        raise UsageError(f"Port {port} of {host} cannot be used: {error}.", remedy="Name another with --port.") from None


def run(settings: Settings, serving: Serving, listening: socket.socket, *, told: Callable[[Service], None]) -> None:
    """Serve until the process is asked to end; `told` is called when the service answers."""
    if serving.workers == 1:
        service = service_of(settings, serving)
        told(service)
        _serve(service, serving, listening)
        service.following.close()
        return
    folder = Path(tempfile.mkdtemp(prefix="nightgate-serving-"))
    try:
        first = service_of(settings, serving, folder)  # what is wrong is told once, here
        told(first)
        first.following.close()
        _supervise(lambda: _serve(service_of(settings, serving, folder), serving, listening), serving.workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def beside(service: Service) -> Iterator[int]:
    """Let a service answer in a thread of this process; yield its port, a free one of this machine."""
    with listener(OWN_MACHINE[0], 0) as listening:
        server = _server(service, Serving())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


def _serve(service: Service, serving: Serving, listening: socket.socket) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        _server(service, serving).run(sockets=[listening])


def _server(service: Service, serving: Serving) -> "uvicorn.Server":
    import uvicorn

    from nightgate.serving.heads import BoundedProtocol

    return uvicorn.Server(uvicorn.Config(service, http=BoundedProtocol, log_level="warning", access_log=False, server_header=False,
                                         date_header=False, ws="none", proxy_headers=False, timeout_graceful_shutdown=10,
                                         ssl_certfile=serving.certificate, ssl_keyfile=serving.private_key))


def _supervise(work: Callable[[], None], workers: int) -> None:
    """Keep processes at work until Ctrl-C, or SIGTERM, which the command line turns into the same: one that ends is started anew."""
    fork = multiprocessing.get_context("fork")

    def quietly() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            work()

    def started() -> BaseProcess:
        process = fork.Process(target=quietly)
        process.start()
        return process

    children = [started() for _ in range(workers)]
    try:
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                multiprocessing.connection.wait([child.sentinel for child in children])
                time.sleep(RESTARTED_AFTER)
                children = [child if child.is_alive() else started() for child in children]
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()
