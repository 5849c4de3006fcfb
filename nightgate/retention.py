"""Retention: which runs are kept, and what is removed of all others."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nightgate import registry, runs
from nightgate.definition.model import Definition
from nightgate.records import history, numbered, run_key
from nightgate.releases import read_pointer, release_key
from nightgate.settings import Settings
from nightgate.store import Store

BY_CONTENT = ("snapshots", "features", "predictions", "metrics", "quarantine", "contracts")
"""Folders of files named by their content, which several runs may share."""

_HASH = re.compile(rb"[0-9a-f]{64}")
YOUNG = 24 * 3_600
"""Seconds in which a file may belong to a run that is under way and has not noted it yet."""


@dataclass(frozen=True)
class Removed:
    """One thing that is removed: its key in the store, why, and its bytes."""

    key: str
    why: str
    bytes: int


def clean(settings: Settings, definitions: Iterable[Definition], *, dry_run: bool) -> list[Removed]:
    """Remove what no rule of these models keeps, and return it; with `dry_run` only return it. A model that is held by a run is left for
    the next time, and runs of others than these stay, with all that they name: what a hold names is not known there. Raises StoreError.
    """
    found = [each for definition in definitions for each in _of_runs(settings, definition, dry_run=dry_run)]
    gone = {each.key for each in found}
    return found + list(_unnamed(settings.store, gone, dry_run=dry_run))


def kept_runs(settings: Settings, definition: Definition) -> set[int]:
    """Return the runs that are kept: the newest, champion and previous, those that wait, and what a legal hold names."""
    records = history(settings.store, definition.name)
    pointer = read_pointer(settings.store, definition.name)
    serving = () if pointer is None else (pointer.version, pointer.previous)
    newest = [record.run for record in records][-definition.retention.keep:]
    return {run for run in (*newest, *serving, *definition.retention.hold, *(each.run for each in records if each.verdict == "waiting"))
            if run is not None}


def _of_runs(settings: Settings, definition: Definition, *, dry_run: bool) -> Iterator[Removed]:
    store, model = settings.store, definition.name
    if runs.holder_of(settings.registry, model) is not None:
        return
    kept = kept_runs(settings, definition)
    old = sorted({number for folder in ("runs", "releases") for number in numbered(store, f"{folder}/{model}")} - kept)
    for number in old:
        for key in (run_key(model, number), release_key(model, number)):
            if store.exists(key):
                yield Removed(key, f"older than the {definition.retention.keep} that are kept", store.size(key))
                if not dry_run:
                    store.remove(key)
    if old and not dry_run:
        registry.remove_runs(settings, model, old)


def _unnamed(store: Store, gone: set[str], *, dry_run: bool) -> Iterator[Removed]:
    """Yield the files that no run, release or night of monitoring that stays names."""
    named = {digest for folder in ("runs", "releases", "monitoring") for model in store.names(folder)
             for name in store.names(f"{folder}/{model}") if f"{folder}/{model}/{name}" not in gone
             for digest in _named_in(store, f"{folder}/{model}/{name}")}
    for folder in BY_CONTENT:
        for name in store.names(folder):
            key = f"{folder}/{name}"
            if name.partition(".")[0].encode() not in named and time.time() - store.modified(key) > YOUNG:
                yield Removed(key, "no run that is kept names it", store.size(key))
                if not dry_run:
                    store.remove(key)


def _named_in(store: Store, key: str) -> Iterator[bytes]:
    """Yield the hashes that the JSON files of a folder name."""
    for path in ([key] if key.endswith(".json") else store.files(key)):
        if path.endswith(".json"):
            yield from _HASH.findall(store.read(path))
