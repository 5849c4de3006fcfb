"""Making a model: from data and a target to a definition and its contracts, written together or not at all."""

import contextlib
import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from nightgate import features, leakage, snapshots
from nightgate.checking import BOUNDARIES
from nightgate.contracts import inference
from nightgate.contracts.writing import as_text
from nightgate.datasets import ColumnType, Dataset
from nightgate.definition.model import Definition, Task
from nightgate.errors import UsageError
from nightgate.guessing import Guesses, definition_text, guess
from nightgate.schedules import today
from nightgate.settings import Settings
from nightgate.skeleton import write_schema
from nightgate.splits import holdout_split
from nightgate.tables import read_table

SAMPLE_ROWS = 100_000
"""Rows from which is guessed."""



@dataclass(frozen=True)
class Wanted:
    """What the author says of a new model; None and empty are guessed."""

    name: str
    source: dict[str, str | bool]
    target: str
    entity: tuple[str, ...] = ()
    time: str | None = None
    task: Task | None = None
    positive: str | None = None
    drop: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()

    @property
    def privacy(self) -> dict[str, list[str]]:
        return {"drop": list(self.drop), "mask": list(self.mask)}


@dataclass(frozen=True)
class Made:
    """What `new` wrote, what it guessed and what it found."""

    definition: Path
    contracts: tuple[Path, ...]
    guesses: Guesses
    rows: int
    dropped: dict[str, int]
    infinite: int
    types: dict[str, ColumnType]


def make(settings: Settings, wanted: Wanted) -> Made:
    """Write a model's definition and contracts. Raises UsageError when the model exists or an argument is wrong, and what
    reading the data raises; nothing is written then."""
    provisional = _validated({"name": wanted.name, "task": "regression", "target": wanted.target, "entity": list(wanted.entity),
                              "time": wanted.time, "source": wanted.source, "privacy": wanted.privacy})  # good enough to collect by
    path, contracts = _places(settings, wanted.name)
    with tempfile.TemporaryDirectory(prefix="nightgate-") as folder:  # what is collected here belongs to no run
        made, texts = _made(replace(settings, store_url=folder), wanted, provisional, path, contracts)
    _write([path, *contracts], texts)
    write_schema(path.parent)
    return made


def _made(settings: Settings, wanted: Wanted, provisional: Definition, path: Path, contracts: list[Path]) -> tuple[Made, list[str]]:
    """Return what was made, and the texts of the definition and the contracts."""
    collected = snapshots.collect(provisional, settings, as_of=today(provisional))
    guesses = _guess(settings, wanted, collected.dataset)
    salt = hashlib.sha256(f"{wanted.name} {wanted.target}".encode()).hexdigest()[:8]
    definition = _defined(wanted, guesses, salt)
    if (definition.time, definition.entity) != (wanted.time, wanted.entity):
        collected = snapshots.collect(definition, settings, as_of=today(definition))
    snapshot = collected.dataset
    guesses = _without_leaks(settings, definition, snapshot, guesses)
    definition = _defined(wanted, guesses, salt)
    table = features.engineer(definition, settings, snapshot)
    learnt = read_table(table, definition)
    with settings.store.local_copy(snapshot.uri) as raw, settings.store.local_copy(table.uri) as engineered:
        suites = (inference.infer_raw(raw, definition, snapshot.columns, as_of=today(definition)),
                  inference.infer_features(engineered, definition, table.columns),
                  inference.infer_predictions(definition, learnt.target, learnt.classes),
                  inference.infer_metrics(definition), inference.drift_contract(definition.name))
    texts = [definition_text(wanted.name, wanted.source, wanted.target, guesses, salt=salt, privacy=wanted.privacy), *map(as_text, suites)]
    dropped = {**collected.dropped, **({"duplicates": collected.duplicates} if collected.duplicates else {})}
    return Made(path, tuple(contracts), guesses, snapshot.rows, dropped, learnt.infinite, snapshot.types), texts


def _places(settings: Settings, name: str) -> tuple[Path, list[Path]]:
    path = settings.models / f"{name}.toml"
    contracts = [settings.contracts_of(name) / f"{boundary}.json" for boundary in BOUNDARIES]
    for taken in (path, *contracts):
        if taken.exists():
            raise UsageError(f"{taken.relative_to(settings.root)} exists already.",
                             remedy=f"Take another name, or `nightgate remove {name}` first.")
    return path, contracts


def _defined(wanted: Wanted, guesses: Guesses, salt: str) -> Definition:
    return _validated({"name": wanted.name, "task": guesses.task, "target": wanted.target, "positive": guesses.positive,
                       "entity": list(guesses.entity), "time": guesses.time, "source": wanted.source, "privacy": wanted.privacy,
                       "columns": {"exclude": list(guesses.excluded), "text": list(guesses.text)}, "training": {"salt": salt}})


def _validated(values: dict[str, Any]) -> Definition:
    try:
        return Definition.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.",
                         remedy="A model's name has small letters, digits and _, and starts with a letter.") from None


def _guess(settings: Settings, wanted: Wanted, snapshot: Dataset) -> Guesses:
    with settings.store.local_copy(snapshot.uri) as path, pq.ParquetFile(path) as file:
        table = pa.Table.from_batches([next(file.iter_batches(SAMPLE_ROWS))])
    return guess(table, snapshot.types, target=wanted.target, entity=wanted.entity, time=wanted.time, task=wanted.task,
                 positive=wanted.positive)


def _without_leaks(settings: Settings, definition: Definition, snapshot: Dataset, guesses: Guesses) -> Guesses:
    """Exclude what gives the target away, until nothing does."""
    excluded = dict(guesses.excluded)
    while True:
        trial = definition.model_copy(update={"columns": definition.columns.model_copy(update={"exclude": tuple(excluded)})})
        table = read_table(features.engineer(trial, settings, snapshot), trial)
        found = [leak for leak in leakage.find(trial, table, holdout_split(table, trial))
                 if leak.stops and leak.kind != leakage.EQUAL_ROWS and not excluded.keys() >= set(leak.columns)]
        if not found or not (set(table.frame.columns) - {name for leak in found for name in leak.columns}):
            return replace(guesses, excluded=excluded)
        for leak in found:
            excluded |= {name: f"leak: {_with_others(leak, name)}" for name in leak.columns}


def _with_others(leak: leakage.Leak, name: str) -> str:
    others = [f"`{other}`" for other in leak.columns if other != name]
    return f"with {' and '.join(others)}: {leak.evidence}" if others else leak.evidence


def _write(paths: list[Path], texts: list[str]) -> None:
    """Write files together or not at all."""
    with contextlib.ExitStack() as undo:
        for path, text in zip(paths, texts, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(path.unlink, missing_ok=True)
            path.write_text(text, encoding="utf-8")
        undo.pop_all()
