"""Following the pointers: what serves, what is tried beside it, and what was refused."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from nightgate import layouts
from nightgate.errors import FileMissing, NightgateError, UsageError
from nightgate.releases import read_manifest, read_pointer, versions
from nightgate.serving.live import Live, load
from nightgate.settings import Settings
from nightgate.store import Store

log = logging.getLogger("nightgate")

LONGEST_PAUSE = 60.0
"""Seconds after which a release that was refused is looked at again, at most: it may have been half written."""


@dataclass(frozen=True)
class Trial:
    """A version that is tried on live traffic: as `canary` it answers `share` per cent of the requests, as `shadow` none."""

    version: int
    manifest_sha256: str
    mode: Literal["canary", "shadow"]
    share: float
    since: str


def read_trial(store: Store, model: str) -> Trial | None:
    try:
        with layouts.told(f"The trial of {model}"):
            return Trial(**store.read_json(f"releases/{model}/trial.json"))
    except FileMissing:
        return None


def begin_trial(settings: Settings, model: str, *, version: int | None, mode: Literal["canary", "shadow"], share: float, since: str
                ) -> Trial:
    """Let a version (the newest that does not serve, when absent) be tried. Raises FileMissing and UsageError."""
    pointer = read_pointer(settings.store, model)
    if pointer is None:
        raise FileMissing(f"{model} has no champion to compare with.", remedy=f"`nightgate run {model}` makes one.")
    others = [each for each in versions(settings.store, model) if each != pointer.version]
    chosen = version if version is not None else max(others, default=None)
    if chosen is None or chosen == pointer.version:
        raise UsageError(f"{model} has no other version than run {pointer.version}, which serves.",
                         remedy=f"`nightgate run {model}` makes one.")
    if not 0 < share <= 100:
        raise UsageError(f"A share of {share:g} per cent makes no sense.", remedy="More than 0, at most 100.")
    trial = Trial(chosen, read_manifest(settings.store, model, chosen).sha256, mode, share, since)
    settings.store.write_json(f"releases/{model}/trial.json", trial)
    return trial


def end_trial(store: Store, model: str) -> None:
    store.remove(f"releases/{model}/trial.json")


@dataclass
class _Refused:
    digest: str
    told: str
    again: float
    pause: float


@dataclass
class Following:
    """The releases that answer. A new one is loaded and verified before it takes the old one's place, by one assignment."""

    settings: Settings
    models: Sequence[str] | None = None
    allow_code: bool = False
    champions: dict[str, Live] = field(default_factory=dict)
    trials: dict[str, tuple[Trial, Live]] = field(default_factory=dict)
    refused: dict[tuple[str, str], _Refused] = field(default_factory=dict)
    retired: list[Live] = field(default_factory=list)
    """What served until the last look: requests may still be with it."""

    def follow(self, now: float | None = None) -> None:
        """Load what the pointers name. What does not verify is refused, told once, and looked at again after a while."""
        now = time.monotonic() if now is None else now
        retired, self.retired = self.retired, []
        for live in retired:
            live.close()
        for model in self.names():
            self._follow(model, now)

    def names(self) -> Sequence[str]:
        """Return the models to serve: those that were named, else all that have a release."""
        return self.models if self.models is not None else self.settings.store.names("releases")

    def _follow(self, model: str, now: float) -> None:
        try:
            pointer = read_pointer(self.settings.store, model)
            trial = read_trial(self.settings.store, model)
        except Exception as error:  # a store may fail in any way; what is loaded keeps serving
            self._refuse(model, "pointer", "", f"The pointer of {model} cannot be read", error, now)
            return
        self.refused.pop((model, "pointer"), None)
        if pointer is None:
            self._retire(self.champions.pop(model, None))
        else:
            live = self._loaded(model, "champion", pointer.version, pointer.manifest_sha256, self.champions.get(model), now)
            if live is not None:
                self.champions[model] = live
        held = self.trials.get(model)
        if trial is None or pointer is None or trial.version == pointer.version:
            self._retire(self.trials.pop(model, (None, None))[1])
            return
        live = self._loaded(model, "trial", trial.version, trial.manifest_sha256, held[1] if held else None, now)
        if live is not None:
            self.trials[model] = trial, live

    def _loaded(self, model: str, role: str, version: int, digest: str, held: Live | None, now: float) -> Live | None:
        """Return the release of a pointer, None where it is refused or was and need not be looked at yet."""
        if held is not None and held.manifest.sha256 == digest:
            self.refused.pop((model, role), None)
            return held
        before = self.refused.get((model, role))
        if before is not None and before.digest == digest and now < before.again:
            return None
        try:
            found = load(self.settings, model, version, pointed=digest, allow_code=self.allow_code)
        except Exception as error:  # whatever is wrong with a release: what is loaded keeps serving
            self._refuse(model, role, digest, f"Release {version} of {model} is refused", error, now)
            return None
        self.refused.pop((model, role), None)
        self._retire(held)
        log.info("%s: run %s serves (%s)", model, version, role)
        return found

    def _refuse(self, model: str, role: str, digest: str, what: str, error: Exception, now: float) -> None:
        """Remember what is wrong, and tell it where it is not what was wrong at the last look."""
        before = self.refused.get((model, role))
        told = error.message if isinstance(error, NightgateError) else f"{type(error).__name__}: {error}"
        pause = min(before.pause * 2, LONGEST_PAUSE) if before is not None and before.digest == digest else 1.0
        if before is None or before.told != told:
            log.warning("%s: %s", what, error)
        self.refused[model, role] = _Refused(digest, told, now + pause, pause)

    def _retire(self, live: Live | None) -> None:
        if live is not None:
            self.retired.append(live)

    def chosen(self, model: str) -> tuple[Live, str] | None:
        """Return what answers the next request, and its role."""
        champion = self.champions.get(model)
        if champion is None:
            return None
        tried = self.trials.get(model)
        if tried is not None and tried[0].mode == "canary" and random.random() * 100 < tried[0].share:
            return tried[1], "canary"
        return champion, "champion"

    def shadow(self, model: str) -> Live | None:
        """Return what answers beside the champion, unseen."""
        tried = self.trials.get(model)
        return tried[1] if tried is not None and tried[0].mode == "shadow" else None

    def close(self) -> None:
        """End the processes of what serves."""
        for live in (*self.champions.values(), *(live for _, live in self.trials.values()), *self.retired):
            live.close()

    def state(self) -> dict[str, object]:
        """Return what serves and what was refused."""
        return {"models": {name: live.version for name, live in sorted(self.champions.items())},
                "trials": {name: {"version": trial.version, "mode": trial.mode, "share": trial.share}
                           for name, (trial, _) in self.trials.items()},
                "refused": {f"{model} ({role})": each.told for (model, role), each in sorted(self.refused.items())}}

