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
from typing import Any

import pyarrow as pa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from nightgate.datasets import ColumnType
from nightgate.errors import FileMissing, NightgateError
from nightgate.releases import read_pointer
from nightgate.scoring import Scorer, load_scorer
from nightgate.settings import Settings

POLL_SECONDS = 0.5
LARGEST_BODY = 8 * 2**20
LARGEST_EXACT = 2**53
MOST_MISTAKES = 50
SENT: dict[ColumnType, pa.DataType] = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string(),
                                       "date": pa.string()}
"""How a column's values come in JSON."""

log = logging.getLogger("nightgate")


class Served:
    """The releases that serve; a new one is loaded and verified before it takes the old one's place."""

    def __init__(self, settings: Settings, models: Sequence[str]) -> None:
        self.settings, self.models = settings, models
        self.scorers: dict[str, Scorer] = {}
        self.refused: dict[str, str] = {}
        self.follow()

    def follow(self) -> None:
        """Load what the pointers name; a release that does not verify is refused and the old one keeps serving."""
        for model in self.models:
            try:
                self._follow(model)
                self.refused.pop(model, None)
            except NightgateError as error:
                if self.refused.get(model) != error.message:
                    log.warning("%s", error)
                self.refused[model] = error.message

    def _follow(self, model: str) -> None:
        pointer, held = read_pointer(self.settings.store, model), self.scorers.get(model)
        if pointer is None:
            self.scorers.pop(model, None)
        elif held is None or held.release.manifest.sha256 != pointer.manifest_sha256:
            self.scorers[model] = load_scorer(self.settings, model, pointer.version)

    @property
    def versions(self) -> dict[str, int]:
        return {model: scorer.release.manifest.version for model, scorer in self.scorers.items()}


def application(settings: Settings, models: Sequence[str]) -> Starlette:
    """Return the service as an ASGI application. Raises FileMissing when no model has a champion."""
    served = Served(settings, models)
    if not served.scorers:
        raise FileMissing(f"None of {', '.join(models) or 'the models'} has a champion to serve.",
                          remedy=next(iter(served.refused.values()), "`nightgate run MODEL` makes one."))

    async def predict(request: Request) -> JSONResponse:
        scorer = served.scorers.get(request.path_params["model"])
        if scorer is None:
            return _refused(404, ["there is no such model, or it has no champion"])
        rows, mistakes = _rows(await _body(request))
        answers, mistakes = ([], mistakes) if mistakes else await asyncio.to_thread(_answered, scorer, rows)
        if mistakes:
            return _refused(422, mistakes)
        return JSONResponse({"model": scorer.release.manifest.model, "version": scorer.release.manifest.version,
                             "request_id": str(uuid.uuid4()), "predictions": answers})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> JSONResponse:
        return JSONResponse({"models": served.versions, "refused": served.refused},
                            200 if len(served.versions) == len(models) else 503)

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
        except Exception:  # whatever is wrong with the store or a release: what is loaded keeps serving
            log.exception("The pointers could not be followed.")


async def _body(request: Request) -> bytes:
    """Read the body, and stop reading where it is too long."""
    parts, length = [], 0
    async for part in request.stream():
        parts.append(part)
        length += len(part)
        if length > LARGEST_BODY:
            break
    return b"".join(parts)


def _rows(body: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    if len(body) > LARGEST_BODY:
        return [], [f"the body has more than {LARGEST_BODY:,} bytes"]
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        return [], [f"the body is no JSON: {str(error)[:100]}"]
    rows = value["rows"] if isinstance(value, dict) and set(value) == {"rows"} else [value]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return [], ["the body is neither one row as an object nor {\"rows\": [rows]}"]
    return rows, []


def _answered(scorer: Scorer, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return an answer a row, or the mistakes."""
    kinds = scorer.release.manifest.raw
    mistakes = _mistakes(kinds, rows)
    if mistakes:
        return [], mistakes
    sent = pa.table({name: pa.array([row[name] for row in rows], SENT[kind]) for name, kind in kinds.items()})
    table, misfits = scorer.typed(sent, {})
    mistakes = [f"rows[{number}].{name}: this text is no {kinds[name]}" for name, numbers in misfits.items() for number in numbers]
    if mistakes:
        return [], _bounded(mistakes)
    return [_answer(row) for row in scorer.answers(table.to_pandas()).to_dict("records")], []


def _mistakes(kinds: dict[str, ColumnType], rows: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for number, row in enumerate(rows):
        found += [f"rows[{number}].{_plain(name)[:60]}: unknown field" for name in sorted(row.keys() - kinds.keys())]
        for name, kind in kinds.items():
            if name not in row:
                found.append(f"rows[{number}].{name}: missing; null says that it is not known")
            elif row[name] is not None and not _is(row[name], kind):
                found.append(f"rows[{number}].{name}: found {type(row[name]).__name__}, needed {_NEEDED[kind]}")
        if len(found) > MOST_MISTAKES:
            break
    return _bounded(found)


_NEEDED: dict[ColumnType, str] = {"integer": "integer of 64 bits", "number": "number", "boolean": "boolean", "text": "text",
                                  "date": "date as text, such as 2026-11-20T08:30:00"}


def _is(value: Any, kind: ColumnType) -> bool:
    """Say whether a value is of a kind; a whole number that a float would round is no number."""
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) and -2**63 <= value < 2**63
    if kind == "number":
        return abs(value) <= LARGEST_EXACT if isinstance(value, int) else isinstance(value, float) and math.isfinite(value)
    return isinstance(value, str) and _plain(value) == value


def _plain(text: str) -> str:
    """Return a text as UTF-8 can say it: half a surrogate pair, which JSON can, it cannot."""
    return text.encode("utf-8", "replace").decode()


def _bounded(mistakes: list[str]) -> list[str]:
    return mistakes if len(mistakes) <= MOST_MISTAKES else [*mistakes[:MOST_MISTAKES], "… and more"]


def _answer(row: dict[Any, Any]) -> dict[str, Any]:
    many = {name.removeprefix("probability_"): float(value) for name, value in row.items() if name.startswith("probability_")}
    if many:
        return {"prediction": row["prediction"], "probabilities": many}
    return {name: value if isinstance(value, str) else float(value) for name, value in row.items()}


def _refused(code: int, mistakes: list[str]) -> JSONResponse:
    return JSONResponse({"error": {"kind": "Refused", "mistakes": mistakes}}, code)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field stands twice in one object")
    return found
