"""A release that answers: verified, its door and its scorer ready."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from nightgate.errors import NotVerified
from nightgate.privacy import masking_key
from nightgate.releases import (
    DOOR,
    PIPELINE,
    PROBED,
    SERVED,
    Manifest,
    Release,
    check_probes,
    read_manifest,
    read_release,
)
from nightgate.scoring.blocks import BlockScorer, Texts
from nightgate.scoring.form import Form
from nightgate.scoring.rows import row_scorer
from nightgate.serving.door import Door, RefusedError, Row
from nightgate.serving.fallback import FallbackScorer
from nightgate.settings import Settings

ALONE = 24
"""Rows from which arrays are faster than one row after the other."""

OUR_OWN = ("sklearn.", "numpy.", "scipy.")


class Live:
    """One release of one model. `answers` are written as JSON at once: most of an answer is known before the request."""

    def __init__(self, manifest: Manifest, door: Door, scorer: Any, form: Form | None, rules: dict[str, Any]) -> None:
        self.manifest, self.door, self.rules = manifest, door, rules
        self.model, self.version, self.raw, self.logged = manifest.model, manifest.version, manifest.raw, {**manifest.raw, **manifest.keys}
        self.compiled = form is not None
        self._row, self._form = scorer, form
        self._blocks: Any = None
        self.masked = bool(door.mask)
        named = [json.dumps(name, ensure_ascii=False) for name in manifest.classes]
        self._named = named
        self._binary = [f'{{"prediction":{name},"probability":' for name in named]
        self._threshold = manifest.decides_at
        self.example: dict[str, Any] | None = None
        self.head = f'{{"model":"{self.model}","version":{self.version},"request_id":"'

    def scores(self, rows: Sequence[Row]) -> Sequence[Any]:
        """Return a number, or one of each class, for each row."""
        if self._form is None:
            found: Sequence[Any] = self._row(rows)
            return found
        if len(rows) < ALONE:
            row = self._row
            return [row(*values) for values in rows]
        return self._many(rows)

    def _many(self, rows: Sequence[Row]) -> Sequence[Any]:
        assert self._form is not None
        if self._blocks is None:
            self._blocks = BlockScorer(self._form)
        columns = [Texts(values) if kind == "text" else np.array(values, dtype="datetime64[us]" if kind == "date" else np.float64)
                   for values, kind in zip(zip(*rows, strict=True), self.raw.values(), strict=True)]
        answer: Sequence[Any] = self._blocks(columns, len(rows)).tolist()
        return answer

    def written(self, scores: Sequence[Any]) -> str:
        """Return the answers as JSON, without the brackets around them."""
        task = self.manifest.task
        if task == "binary":
            no, yes, threshold = *self._binary, self._threshold
            return ",".join([f"{yes if score >= threshold else no}{score!r}}}" for score in scores])
        if task == "regression":
            return ",".join([f'{{"prediction":{score!r}}}' for score in scores])
        named = self._named
        return ",".join([f'{{"prediction":{named[score.index(max(score))]},"probabilities":{{'
                         f'{",".join([f"{name}:{share!r}" for name, share in zip(named, score, strict=True)])}}}}}' for score in scores])

    def close(self) -> None:
        if isinstance(self._row, FallbackScorer):
            self._row.close()


def load(settings: Settings, model: str, version: int, *, pointed: str, allow_code: bool) -> Live:
    """Load and verify a release: signature, hashes, probes. Raises FileMissing, NotVerified and StoreError."""
    manifest = read_manifest(settings.store, model, version)
    only = (PIPELINE, PROBED, DOOR) if manifest.falls_back else SERVED
    release = read_release(settings, model, version, only=only, pointed=pointed)
    rules = json.loads(release.contents[DOOR])
    definition = json.loads(manifest.definition)
    mask = [name for name in definition["privacy"]["mask"] if name in manifest.raw or name in manifest.keys]
    door = Door(manifest.raw, rules=rules["kept"], missing=["", *definition["source"]["missing"]], mask=mask,
                zone=definition["schedule"]["timezone"], key=masking_key(settings, model) if mask else b"", keys=manifest.keys)
    if not manifest.falls_back:
        form = release.form
        row = row_scorer(form)
        check_probes(release, row)
        return _shown(Live(manifest, door, row, form, rules), release)
    own = [name for name in manifest.trusted if not name.startswith(OUR_OWN)]
    if (own or definition["features"]["own"]) and not allow_code:
        raise NotVerified(f"Release {version} of {model} runs code of its own: {', '.join(own[:5]) or definition['features']['own']}.",
                          remedy="`nightgate serve --allow-code` lets it, in a process apart.")
    return _shown(Live(manifest, door, FallbackScorer(settings, model, version, pointed), None, rules), release)


def _shown(live: Live, release: Release) -> Live:
    """Give a release an example: a row of its hold-out that its door lets in; none where columns are masked."""
    for row in json.loads(release.contents[PROBED])["rows"] if not live.masked else ():
        found = dict(zip(live.raw, row, strict=True))
        try:
            live.door.checked([found])
        except RefusedError:
            continue
        live.example = found
        break
    return live
