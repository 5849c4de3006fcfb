"""The doctor: finds what is inconsistent in an installation, mends what can be mended, and says what it did."""

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from nightgate import approving, nights, registry, releases, runs
from nightgate.definition.loading import definition_path, load_definition, model_names
from nightgate.errors import DefinitionError, FileMissing, ModelBusy, NightgateError, NotVerified, StoreError
from nightgate.records import numbered
from nightgate.settings import Settings
from nightgate.wording import counted

LEFT_BEHIND = 24 * 3_600
"""Seconds after which a half-written file or a working folder belongs to nobody."""


@dataclass(frozen=True)
class Finding:
    """One thing that was wrong: `model` is None where it is the installation's."""

    model: str | None
    told: str
    mended: bool


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what was wrong, each mended first where that needs no person."""
    for model in model_names(settings.models):
        try:
            definition = load_definition(definition_path(settings.models, model))
        except DefinitionError as error:
            yield Finding(model, f"{error.message.splitlines()[0]} `nightgate check {model}` tells them.", False)
            continue
        try:
            with runs.hold(settings.registry, model, holder_id="doctor"):
                for number in nights.bury(settings, definition, before=max(numbered(settings.store, f"runs/{model}"), default=0) + 1):
                    yield Finding(model, f"Run {number} had ended without a word; it has a record now.", True)
                for number in approving.expire(settings, model):
                    yield Finding(model, f"Nobody decided about run {number} in time: the champion stays.", True)
                known = yield from _pointer(settings, model)
                for number in approving.complete(settings, model) if known else ():
                    yield Finding(model, f"Run {number} served and was said to wait: its record says now that it was promoted.", True)
                for told in registry.reconcile(settings, model) if known else ():
                    yield Finding(model, f"MLflow: {told}.", True)
        except ModelBusy:
            continue  # whoever holds it looks after it
        except StoreError as error:
            yield Finding(model, error.message, False)
    yield from _left_behind(settings)


def _pointer(settings: Settings, model: str) -> Generator[Finding, None, bool]:
    """Say whether what serves can be served; where it cannot, the version before it takes its place, if that is whole.

    Returns whether it is known what serves.
    """
    try:
        pointer = releases.read_pointer(settings.store, model)
    except StoreError as error:
        yield Finding(model, f"{error.message} `nightgate rollback {model} --to RUN` makes it anew.", False)
        return False
    if pointer is None:
        return True
    try:
        releases.verify(settings, model, pointer.version, pointed=pointer.manifest_sha256)
    except (NotVerified, FileMissing) as error:
        yield from _replaced(settings, model, pointer, error)
    return True


def _replaced(settings: Settings, model: str, pointer: releases.Pointer, error: NightgateError) -> Iterator[Finding]:
    if pointer.previous is None:
        yield Finding(model, f"Run {pointer.version} serves and is damaged: {error.message} Nothing served before it.", False)
        return
    try:
        releases.promote(settings, model, pointer.previous, as_of=pointer.as_of, why=f"run {pointer.version} was found damaged")
    except NightgateError as second:
        yield Finding(model, f"Run {pointer.version} serves and is damaged: {error.message} So is run {pointer.previous}: "
                      f"{second.message}", False)
    else:
        yield Finding(model, f"Run {pointer.version} served and was damaged: {error.message} Run {pointer.previous} serves now.", True)


def _left_behind(settings: Settings) -> Iterator[Finding]:
    """Remove working folders and half-written files that nobody writes any more, on a store of this machine."""
    root = settings.store.local
    if root is None or not root.is_dir():
        return
    old = [path for path in (*(root / "work").glob("*"), *(root / "copies").glob("*"), *root.glob("**/.*.????????????????????????????????"))
           if _is_old(path)]
    for path in old:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if old:
        yield Finding(None, f"Removed {counted(len(old), 'leftover')} of runs that had died, such as {old[0].relative_to(root)}.", True)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > LEFT_BEHIND
    except OSError:
        return False
