"""Real services for tests: uvicorn on a free port of this machine, in a thread of the test or in a process of its own."""

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightgate.serving.application import Service
from nightgate.serving.running import Serving, beside, service_of
from nightgate.settings import Settings


@dataclass
class Client:
    """Asks a service over one connection."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        try:
            self.connection.request(method, path, body, {**({"content-type": "application/json"} if body is not None else {}),
                                                         **self.headers, **(headers or {})})
            answer = self.connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError):
            self.connection.close()
            raise
        if answer.getheader("connection") == "close":
            self.connection.close()
        return answer.status, content

    def get(self, path: str) -> tuple[int, Any]:
        code, content = self.ask("GET", path)
        return code, json.loads(content)

    def post(self, body: Any, path: str = "/models/credit/predict", **headers: str) -> tuple[int, Any]:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        code, content = self.ask("POST", path, sent, {name.replace("_", "-"): value for name, value in headers.items()})
        return code, json.loads(content)


@contextlib.contextmanager
def running(place: Settings, **options: Any) -> Iterator[tuple[Client, Service]]:
    """Run a service in a thread; give a client of it and the service itself."""
    service = service_of(place, Serving(**options))
    with beside(service) as port:
        yield Client(port), service


@contextlib.contextmanager
def process(folder: Path, *words: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Run `nightgate serve` as a person would; give its port and the process, which is killed in the end."""
    command = [sys.executable, "-m", "nightgate", "serve", "--port", "0", *words]
    served = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert served.stderr is not None
        line = served.stderr.readline()
        yield int(line.split(":")[2].split("/")[0]), served
    finally:
        served.terminate()
        served.wait(30)
        served.stderr.close()  # type: ignore[union-attr] # it was asked for
