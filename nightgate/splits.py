"""Splits: the hold-out that nothing touches, and the folds that all candidates share."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightgate.definition.model import Definition
from nightgate.errors import DataUnusable
from nightgate.hashing import mix
from nightgate.tables import Table
from nightgate.wording import counted

Rows = NDArray[np.int64]

FEWEST_ROWS = 10
"""Rows of a part of a split at least."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the two parts, ascending."""

    train: Rows
    holdout: Rows


@dataclass(frozen=True)
class Fold:
    """Row numbers to fit on and to score on; both are training rows."""

    train: Rows
    validate: Rows


def holdout_split(table: Table, definition: Definition) -> Split:
    """Split off the newest rows by event time, else rows by a salted hash of their group: a row stays on its side.

    Raises DataUnusable when a part is too small or lacks a class.
    """
    share = definition.training.holdout
    if table.time is not None:
        edge = np.sort(table.time)[int(len(table.time) * (1 - share))]
        held = table.time >= edge  # rows of one moment stay together
    else:
        held = _positions(table.groups, f"holdout {definition.salt}") < share
    split = Split(np.flatnonzero(~held), np.flatnonzero(held))
    _demand(table, definition, {"training": split.train, "the hold-out": split.holdout})
    return split


def folds(table: Table, split: Split, definition: Definition) -> tuple[Fold, ...]:
    """Cut the training rows: forward in time where there is an event time, else by a salted hash of their group.

    Raises DataUnusable when a fold is too small or lacks a class.
    """
    count = definition.training.folds
    if table.time is not None:
        found = _forward(table.time[split.train], split.train, count)
    else:
        part = (_positions(table.groups[split.train], f"folds {definition.salt}") * count).astype(int)
        found = tuple(Fold(split.train[part != number], split.train[part == number]) for number in range(count))
    for number, fold in enumerate(found, start=1):
        _demand(table, definition, {f"fold {number}'s training": fold.train, f"fold {number}": fold.validate})
    return found


def _forward(time: NDArray[np.datetime64], rows: Rows, count: int) -> tuple[Fold, ...]:
    """Return folds that are fitted on the past and scored on what came next."""
    ordered = np.sort(time)
    edges = [ordered[len(ordered) * number // (count + 1)] for number in range(1, count + 1)]
    ends = [*edges[1:], ordered[-1] + np.timedelta64(1, "us")]
    return tuple(Fold(rows[time < begin], rows[(time >= begin) & (time < end)])
                 for begin, end in zip(edges, ends, strict=True))


def _positions(groups: NDArray[np.uint64], salt: str) -> NDArray[np.float64]:
    """Return a place in [0, 1) for each group, the same on every machine and night."""
    mixed = groups ^ np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little"))
    mix(mixed)
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _demand(table: Table, definition: Definition, parts: dict[str, Rows]) -> None:
    for name, rows in parts.items():
        if len(rows) < FEWEST_ROWS:
            raise DataUnusable(f"Only {len(rows)} of {len(table.target):,} rows fall into {name}; {FEWEST_ROWS} are needed.",
                               remedy="Collect more rows, or set fewer `training.folds` or another `training.holdout`.")
        if definition.task == "regression":
            continue
        absent = [label for number, label in enumerate(table.classes) if not np.any(table.target[rows] == number)]
        if absent:
            raise DataUnusable(f"No row of class `{absent[0]}` falls into {name} ({counted(len(rows), 'row')}).",
                               remedy="Collect more rows of it, or set fewer `training.folds`, or put rare classes together.")
