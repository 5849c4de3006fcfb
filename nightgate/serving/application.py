"""The service as a plain ASGI application: one function from a request to an answer, without a framework in between.

An answer is sent only after it stands in the prediction log. When the log cannot be written the service refuses (503) and says
so loudly, in its own log, in `/ready` and in its metrics: what nobody could account for is not answered.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from nightgate.errors import NightgateError
from nightgate.segments import FOLDER, Segment
from nightgate.serving import protocols
from nightgate.serving.access import ADMIN, Access, Key
from nightgate.serving.description import PAGE, openapi
from nightgate.serving.door import RefusedError, Row, parsed
from nightgate.serving.following import Following
from nightgate.serving.live import Live
from nightgate.serving.messages import DESCRIBED, Receive, Send, body_of, described, refusal, secret_of, send_answer
from nightgate.serving.metrics import Metrics
from nightgate.settings import Settings

POLL_SECONDS = 0.2
MANY = 500
"""Rows from which a request is answered in a thread, so that others need not wait for it."""

REFUSALS = {"unknown": (401, "a valid key is needed: Authorization: Bearer KEY"), "expired": (401, "the key has expired"),
            "scope": (403, "the key is not for this"), "rate": (429, "too many requests; ask again in a second")}

log = logging.getLogger("nightgate")
quoted = lru_cache(json.dumps)


class _Answer(NamedTuple):
    live: Live
    role: str
    rows: list[Row]
    written: str
    request: str


class Service:
    """What answers requests. `follow` loads what the pointers name; the first call must come before the first request."""

    def __init__(self, settings: Settings, following: Following, access: Access, metrics: Metrics) -> None:
        self.settings, self.following, self.access, self.metrics = settings, following, access, metrics
        self.segments: dict[str, Segment] = {}
        self.log_broken = self.access_wrong = ""
        self.clock = time.time
        """Tells what time stands in the log: in a simulation it is not this machine's."""
        self.refused: Counter[tuple[str, int]] = Counter()
        self.minute = 0
        """Refused requests of that minute by model and status: the log has a line a minute, however many come."""
        self.ids, self.number = secrets.token_hex(8), 0
        self.tasks: set[asyncio.Task[None]] = set()

    def follow(self) -> None:
        """Look at pointers and keys once."""
        self.following.follow()
        try:
            self.access.follow()
        except NightgateError as error:
            if error.message != self.access_wrong:
                log.warning("%s", error)
            self.access_wrong = error.message
        else:
            self.access_wrong = ""
        self.metrics.leave()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Follow the pointers for as long as the service runs."""
        await receive()
        following = asyncio.create_task(self._following())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        self._tell_refused()
        for segment in self.segments.values():
            segment.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _following(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.clock() // 60 != self.minute:
                self._tell_refused()
            try:
                await asyncio.to_thread(self.follow)
            except Exception:  # whatever is wrong: what is loaded keeps serving
                log.exception("The pointers could not be followed.")

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        path: str = scope["path"]
        if scope["method"] == "POST" and path.startswith("/models/") and path.endswith("/predict"):
            await self._predict(path[8:-8], scope, receive, send, begin)
            return
        try:
            code, body, kind = await self._other(path, scope, receive)
        except RefusedError as refused:
            code, body, kind = refused.code, refusal(refused.mistakes), b""
        await send_answer(send, code, body, kind, head=scope["method"] == "HEAD")

    async def _predict(self, model: str, scope: Any, receive: Receive, send: Send, begin: float) -> None:
        """Answer in Nightgate's own form, without a detour: this is the path of most requests."""
        consumer, live, rows = "", None, 0
        try:
            headers = dict(scope["headers"])
            key = self._allowed(headers, model)
            consumer = key.consumer
            body = await body_of(headers, receive)
            live, role = self._chosen(model)
            answer = await self._answered(live, role, live.door.rows(body) if len(body) < 100_000 else
                                          await asyncio.to_thread(live.door.rows, body))
            rows = len(answer.rows)
            sent = body.replace(b"\n", b" ") if not live.masked else json.dumps({"rows": live.door.logged(parsed(body))}).encode()
            self._log(answer, consumer, sent)
            code, content = 200, f'{live.head}{answer.request}","predictions":[{answer.written}]}}'.encode()
        except RefusedError as refused:
            code, content = refused.code, refusal(refused.mistakes)
        self._count(model, live, consumer, code, rows, begin)
        await send_answer(send, code, content)
        if code == 200 and live is not None and (shadow := self.following.shadow(model)) is not None:
            self._shadow(shadow, consumer, answer, sent)

    def _allowed(self, headers: Mapping[bytes, bytes], model: str) -> Key:
        found = self.access.allows(secret_of(headers), model, now=time.time(), clock=time.monotonic())
        if isinstance(found, str):
            code, told = REFUSALS[found]
            raise RefusedError([told], code)
        return found

    def _chosen(self, model: str) -> tuple[Live, str]:
        chosen = self.following.chosen(model)
        if chosen is None:
            raise RefusedError(["there is no such model, or it has no champion"], 404)
        return chosen

    async def _answered(self, live: Live, role: str, rows: list[Row]) -> _Answer:
        try:
            scores = live.scores(rows) if live.compiled and len(rows) < MANY else await asyncio.to_thread(live.scores, rows)
        except NightgateError as error:
            log.error("%s", error)  # noqa: TRY400 - an error of ours says all there is to say
            raise RefusedError(["the model gives no answer"], 503) from None
        self.number += 1
        return _Answer(live, role, rows, live.written(scores), f"{self.ids}{self.number:08x}")

    def _log(self, answer: _Answer, consumer: str, sent: bytes) -> None:
        """Write the request down before it is answered."""
        live, segment = answer.live, self._segment(answer.live.model)
        begin = (f'{{"at":{self.clock()!r},"request":"{answer.request}","version":{live.version},"role":"{answer.role}",'
                 f'"consumer":{quoted(consumer)},"sent":').encode()
        try:
            segment.append(live.version, live.logged, [begin, sent, f',"answers":[{answer.written}]}}\n'.encode()])
        except OSError as error:
            self.metrics.counts["log_failures",] += 1
            if not self.log_broken:
                log.error("The prediction log cannot be written (%s): nothing is answered until it can.", error.strerror)  # noqa: TRY400
            self.log_broken = error.strerror or "it failed"
            raise RefusedError(["the answer cannot be written down; nothing is answered until it can"], 503) from None
        self.log_broken = ""

    def _segment(self, model: str) -> Segment:
        if model not in self.segments:
            self.segments[model] = Segment(self.settings.store.folder(FOLDER) / model)
        return self.segments[model]

    def _count(self, model: str, live: Live | None, consumer: str, code: int, rows: int, begin: float) -> None:
        """Count a request, and one that is refused for the log, too, where its model serves."""
        self.metrics.add(model if live is not None else "", live.version if live is not None else 0, consumer, code, rows,
                         time.perf_counter() - begin)
        if code != 200 and model in self.following.champions:
            minute = int(self.clock() // 60)
            if minute != self.minute:
                self._tell_refused()
                self.minute = minute
            self.refused[model, code] += 1

    def _tell_refused(self) -> None:
        """Write the refused requests of the minute down; what the log does not take, the metrics have."""
        for (model, code), count in self.refused.items():
            with contextlib.suppress(OSError):
                self._segment(model).refuse(self.minute, code, count)
        self.refused.clear()

    def _shadow(self, live: Live, consumer: str, answered: _Answer, sent: bytes) -> None:
        """Let the version on trial answer the same rows, for the log alone."""
        task = asyncio.create_task(self._shadowed(live, consumer, answered, sent))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _shadowed(self, live: Live, consumer: str, answered: _Answer, sent: bytes) -> None:
        if answered.live.raw != live.raw or live.masked:  # it wants other columns, or makes tokens of its own
            return
        with contextlib.suppress(RefusedError):
            made = await self._answered(live, "shadow", answered.rows)
            self._log(made._replace(request=answered.request), consumer, sent)

    async def _other(self, path: str, scope: Any, receive: Receive) -> tuple[int, bytes, bytes]:
        """Answer everything but Nightgate's own predictions: status, body, content type where it is not JSON."""
        headers, parts = dict(scope["headers"]), path.strip("/").split("/")
        get, post = scope["method"] in ("GET", "HEAD"), scope["method"] == "POST"
        if get and path in ("/health", "/ping", "/v2/health/live"):
            return 200, b'{"status":"ok"}', b""
        if get and path in ("/ready", "/v2/health/ready"):
            return self._ready()
        if get and path == "/docs":
            return 200, PAGE.encode(), b"text/html; charset=utf-8"
        if get and path == "/openapi.json":
            key = self.access.key_of(secret_of(headers))
            self._allowed(headers, next(iter(key.models), "") if key is not None else "" if self.access.keys else "*")  # of any model
            return 200, json.dumps(openapi(dict(self.following.champions))).encode(), b""
        if get and path == "/metrics":
            self._allowed(headers, ADMIN)
            text = self.metrics.text({name: live.version for name, live in self.following.champions.items()})
            return 200, text.encode(), b"text/plain; version=0.0.4; charset=utf-8"
        if post and (parts[-1] == "invocations" and len(parts) in (1, 3)):
            return await self._translated(parts[1] if len(parts) == 3 else self._only(), headers, receive, protocol="mlflow")
        if parts[:2] == ["v2", "models"] and len(parts) >= 3:
            return await self._inference(parts[2], parts[3:], headers, receive, get=get, post=post)
        if parts[0] == "models" and len(parts) == 3 and parts[2] in ("predict", "invocations"):
            raise RefusedError(["only POST is answered here"], 405)
        raise RefusedError(["there is nothing here; /docs shows what there is"], 404)

    def _ready(self) -> tuple[int, bytes, bytes]:
        missing = sorted({*self.following.names()} - self.following.champions.keys()) if self.following.models is not None else []
        state = {"ready": not missing and bool(self.following.champions) and not self.log_broken, "log": self.log_broken or "ok"}
        if not self.access.keys:
            state |= self.following.state()  # who has no key is told no versions
        return 200 if state["ready"] else 503, json.dumps(state).encode(), b""

    def _version(self, model: str) -> str:
        champion = self.following.champions.get(model)
        return "" if champion is None else str(champion.version)

    def _only(self) -> str:
        if len(self.following.champions) != 1:
            raise RefusedError(["several models serve; /models/NAME/invocations names one"], 404)
        return next(iter(self.following.champions))

    async def _inference(self, model: str, rest: Sequence[str], headers: Mapping[bytes, bytes], receive: Receive, *, get: bool, post: bool
                         ) -> tuple[int, bytes, bytes]:
        """Answer the Open Inference Protocol's routes of one model."""
        version = rest[1] if len(rest) >= 2 and rest[0] == "versions" else None
        last = list(rest[2:] if version is not None else rest)
        if post and last == ["infer"] and (version is None or version == self._version(model)):
            return await self._translated(model, headers, receive, protocol="inference")
        self._allowed(headers, model)
        live, _ = self._chosen(model)
        if version is not None and version != str(live.version):
            raise RefusedError(["this version does not serve"], 404)
        if get and last == ["ready"]:
            return 200, json.dumps({"name": model, "ready": True}).encode(), b""
        if get and not last:
            manifest = live.manifest
            metadata = protocols.inference_metadata(model, live.version, live.raw, manifest.task, manifest.classes)
            return 200, json.dumps(metadata).encode(), b""
        raise RefusedError(["there is nothing here"], 404)

    async def _translated(self, model: str, headers: Mapping[bytes, bytes], receive: Receive, *, protocol: str) -> tuple[int, bytes, bytes]:
        """Answer a request in another protocol's form."""
        begin, consumer, live, named = time.perf_counter(), "", None, None
        try:
            key = self._allowed(headers, model)
            consumer = key.consumer
            body = await body_of(headers, receive, binary=protocol == "inference" and DESCRIBED in headers)
            live, role = self._chosen(model)
            if protocol == "mlflow":
                plain_rows = protocols.mlflow_rows(body)
            else:
                plain_rows, named = protocols.inference_rows(body, live.raw, described=described(headers))
            answer = await self._answered(live, role, await asyncio.to_thread(live.door.checked, plain_rows))
            sent = json.dumps({"rows": live.door.logged(plain_rows)}).encode()
            self._log(answer, consumer, sent)
        except RefusedError as refused:
            self._count(model, live, consumer, refused.code, 0, begin)
            raise
        answers = json.loads(f"[{answer.written}]")
        value = protocols.mlflow_answer(answers) if protocol == "mlflow" else \
            protocols.inference_answer(model, live.version, named or answer.request, answers)
        self._count(model, live, consumer, 200, len(answer.rows), begin)
        if (shadow := self.following.shadow(model)) is not None:
            self._shadow(shadow, key.consumer, answer, sent)
        return 200, json.dumps(value).encode(), b""
