"""The prediction service: answers rows with the model that the pointer names, and follows the pointer.

A request is refused with every mistake of every row; nothing is guessed or converted.
"""

import asyncio
import contextlib
import json
import logging
import math
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from nightgate.errors import FileMissing, NightgateError
from nightgate.releases import Release, read_pointer, read_release
from nightgate.scoring import answers, predict_rows
from nightgate.settings import Settings

POLL_SECONDS = 0.5
LARGEST_BODY = 8 * 2**20
MOST_MISTAKES = 50
log = logging.getLogger("nightgate")


class Served:
    """The releases that serve; a new one is loaded and verified before it takes the old one's place."""

    def __init__(self, settings: Settings, models: Sequence[str]) -> None:
        self.settings, self.models = settings, models
        self.releases: dict[str, Release] = {}
        self.refused: dict[str, str] = {}
        self.follow()

    def follow(self) -> None:
        """Load what the pointers name; a release that does not verify is refused and the old one keeps serving."""
        for model in self.models:
            pointer = read_pointer(self.settings.store, model)
            held = self.releases.get(model)
            if pointer is None or (held is not None and held.manifest.sha256 == pointer.manifest_sha256):
                continue
            try:
                self.releases[model] = read_release(self.settings.store, model, pointer.version)
                self.refused.pop(model, None)
            except NightgateError as error:
                if self.refused.get(model) != error.message:
                    log.warning("%s", error)
                self.refused[model] = error.message


def application(settings: Settings, models: Sequence[str]) -> Starlette:
    """Return the service as an ASGI application. Raises FileMissing when no model has a champion."""
    served = Served(settings, models)
    if not served.releases:
        raise FileMissing(f"None of {', '.join(models) or 'the models'} has a champion to serve.",
                          remedy="`nightgate run MODEL` makes one.")

    async def predict(request: Request) -> JSONResponse:
        release = served.releases.get(request.path_params["model"])
        if release is None:
            return _refused(404, ["there is no such model"])
        rows, mistakes = _rows(await request.body())
        mistakes = mistakes or _mistakes(release, rows)
        if mistakes:
            return _refused(422, mistakes)
        frame = pd.DataFrame(rows, columns=list(release.manifest.raw))
        found = answers(release, await asyncio.to_thread(predict_rows, release, frame))
        return JSONResponse({"model": release.manifest.model, "version": release.manifest.version,
                             "request_id": str(uuid.uuid4()), "predictions": [_answer(row) for row in found.to_dict("records")]})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> JSONResponse:
        versions = {model: release.manifest.version for model, release in served.releases.items()}
        return JSONResponse({"models": versions, "refused": served.refused}, 200 if len(versions) == len(models) else 503)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(_follow(served))
        yield
        following.cancel()

    return Starlette(routes=[Route("/models/{model}/predict", predict, methods=["POST"]), Route("/health", health),
                             Route("/ready", ready)], lifespan=lifespan)


async def _follow(served: Served) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            await asyncio.to_thread(served.follow)
        except NightgateError as error:  # the store is away: what is loaded keeps serving
            log.warning("%s", error)


def _rows(body: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    if len(body) > LARGEST_BODY:
        return [], [f"the body has {len(body):,} bytes; at most {LARGEST_BODY:,}"]
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return [], [f"the body is no JSON: {str(error)[:100]}"]
    rows = value["rows"] if isinstance(value, dict) and set(value) == {"rows"} else [value]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return [], ["the body is neither one row as an object nor {\"rows\": [rows]}"]
    return rows, []


def _mistakes(release: Release, rows: list[dict[str, Any]]) -> list[str]:
    found = []
    for number, row in enumerate(rows):
        found += [f"rows[{number}].{name[:60]}: unknown field" for name in row.keys() - release.manifest.raw.keys()]
        for name, kind in release.manifest.raw.items():
            if name not in row:
                found.append(f"rows[{number}].{name}: missing; null says that it is not known")
            elif not _is(row[name], kind):
                found.append(f"rows[{number}].{name}: found {type(row[name]).__name__}, needed {kind}")
        if len(found) > MOST_MISTAKES:
            return [*found[:MOST_MISTAKES], "… and more"]
    return found


def _is(value: Any, kind: str) -> bool:
    if value is None:
        return True
    if kind == "date":
        with contextlib.suppress(TypeError, ValueError):
            datetime.fromisoformat(value)
            return True
        return False
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "number":
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, int) if kind == "integer" else isinstance(value, str)


def _answer(row: dict[Any, Any]) -> dict[str, Any]:
    many = {name.removeprefix("probability_"): float(value) for name, value in row.items() if name.startswith("probability_")}
    if many:
        return {"prediction": row["prediction"], "probabilities": many}
    return {name: value if isinstance(value, str) else float(value) for name, value in row.items()}


def _refused(code: int, mistakes: list[str]) -> JSONResponse:
    return JSONResponse({"error": {"kind": "Refused", "mistakes": mistakes}}, code)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
