"""The server's protocol with bounds of its own: the parser takes a request line, headers and trailers of any length."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nightgate.serving.door import LARGEST_BODY

LARGEST_HEAD = 2**16
LARGEST_REQUEST = 2 * LARGEST_BODY
"""Bytes of a whole request, its body in however small pieces: the service has refused it long before."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends the connection of a request that goes on and on; what is counted begins anew with each request."""

    taken, most = 0, LARGEST_HEAD

    def data_received(self, data: bytes) -> None:
        if self.taken > self.most:
            self.send_400_response("The request is too long.")
            return
        self.taken += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.taken, self.most = 0, LARGEST_HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.most = LARGEST_REQUEST
        super().on_headers_complete()
