"""Running the service: one listener, one process or several that share it, and what it needs before it is open to others."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightgate.errors import FileMissing, UsageError
from nightgate.serving.access import Access
from nightgate.serving.application import Service
from nightgate.serving.following import Following
from nightgate.serving.metrics import Metrics
from nightgate.settings import Settings

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


def _serve(service: Service, serving: Serving, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(service, log_level="warning", access_log=False, server_header=False, date_header=False, ws="none",
                            ssl_certfile=serving.certificate, ssl_keyfile=serving.private_key, timeout_graceful_shutdown=10)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _supervise(work: Callable[[], None], workers: int) -> None:
    """Keep processes at work: one that ends is started anew, all are ended with this one."""
    children = {_child(work) for _ in range(workers)}
    ending = False

    def end(_number: int, _frame: object) -> None:
        nonlocal ending
        ending = True
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while children:
        try:
            child, _ = os.wait()
        except ChildProcessError:
            return
        if child in children and not ending:
            children.add(_child(work))
        children.discard(child)


def _child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work()
        code = 0
    finally:
        os._exit(code)
