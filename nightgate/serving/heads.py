"""The server's protocol with bounds of its own: the parser takes a request of any length, and waits for the rest of it for ever."""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from nightgate.serving.door import LARGEST_BODY
from nightgate.serving.messages import refusal

LARGEST_HEAD = 2**16
LARGEST_REQUEST = 2 * LARGEST_BODY
"""Bytes of a whole request, its body in however small pieces: the service has refused it long before."""

LONGEST_SECONDS = 60.0
"""How long a request may take to come, its head and its body."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends the connection of a request that goes on and on; what is counted begins anew with each request."""

    taken, most = 0, LARGEST_HEAD
    begun: float | None = None
    """When the request began that has not come whole; None between two."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.begun = self.loop.time()
        self.watch = self.loop.call_later(LONGEST_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """End a request that takes too long; there is one timer a connection, since most requests come at once."""
        if self.begun is not None and self.flow.read_paused:  # what is late is on this side
            self.begun = self.loop.time()
        rest = LONGEST_SECONDS if self.begun is None else self.begun + LONGEST_SECONDS - self.loop.time()
        if rest > 0:
            self.watch = self.loop.call_later(rest, self._look)
            return
        head = self.most == LARGEST_HEAD
        if self.scope is not None and (self.cycle is None or (self.cycle.response_complete if head else not self.cycle.response_started)):
            body = refusal([f"the request did not come whole within {LONGEST_SECONDS:g} seconds"])
            self.transport.write(STATUS_LINE[408] + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                                 % (len(body), body))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.begun is None:
            self.begun = self.loop.time()
        if self.taken > self.most:
            self.send_400_response("The request is too long.")
            return
        self.taken += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.taken, self.most, self.begun = 0, LARGEST_HEAD, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.most = LARGEST_REQUEST
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.begun = None
        super().on_message_complete()
