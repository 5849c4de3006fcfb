"""Requests and answers as ASGI has them: the key and the body of one, the headers of the other."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nightgate.serving.door import LARGEST_BODY, RefusedError, plain

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

LEFT = "the request did not come whole"
DESCRIBED = b"inference-header-content-length"
HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


def secret_of(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key of a request: `Authorization: Bearer KEY`, or `X-API-Key: KEY`."""
    found = headers.get(b"authorization")
    if found is not None and found[:7].lower() == b"bearer ":
        return found[7:].decode("latin-1").strip()
    other = headers.get(b"x-api-key")
    return None if other is None else other.decode("latin-1").strip()


def described(headers: Mapping[bytes, bytes]) -> int | None:
    """Return the length of the JSON before tensors in binary form; None where all is JSON."""
    length = headers.get(DESCRIBED)
    if length is not None and not length.isdigit():
        raise RefusedError(["Inference-Header-Content-Length is no length"])
    return None if length is None else int(length)


async def body_of(headers: Mapping[bytes, bytes], receive: Receive, *, binary: bool = False) -> bytes:
    """Read the body of a request. Raises RefusedError for content that is not JSON, but for `binary`, where it is too long, and
    where its sender left before its end."""
    kind = headers.get(b"content-type", b"application/json")
    if kind != b"application/json" and not binary:
        _refuse_content(kind.decode("latin-1").lower())
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RefusedError(["compressed bodies are not read"], 415)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > LARGEST_BODY:
        raise RefusedError([f"the body has more than {LARGEST_BODY:,} bytes"], 413)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RefusedError([LEFT], 408)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError([LEFT], 408)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise RefusedError([f"the body has more than {LARGEST_BODY:,} bytes"], 413)
    return b"".join(parts)


def _refuse_content(kind: str) -> None:
    media, *parameters = [part.strip() for part in kind.split(";")]
    charset = next((part[8:].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if not (media == "application/json" or media.endswith("+json")):
        raise RefusedError(["the content type must be application/json"], 415)
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise RefusedError(["JSON must be in UTF-8"], 415)


def refusal(mistakes: Sequence[str]) -> bytes:
    return json.dumps({"error": {"kind": "Refused", "mistakes": [plain(each) for each in mistakes]}}, ensure_ascii=False).encode()


async def send_answer(send: Send, code: int, body: bytes, kind: bytes = b"", *, head: bool = False) -> None:
    headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
    if kind:
        headers[0] = (b"content-type", kind)
    if code in (401, 429, 503):
        headers.append({401: (b"www-authenticate", b"Bearer"), 429: (b"retry-after", b"1"), 503: (b"retry-after", b"5")}[code])
    if kind.startswith(b"text/html"):
        headers.append((b"content-security-policy", b"default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
