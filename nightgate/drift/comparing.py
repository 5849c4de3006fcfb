"""Comparing any files with a reference file: no project, no model."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightgate.drift.policy import TableDrift, compare
from nightgate.drift.profile import Every, Profile, of_file, scan, total
from nightgate.drift.reference import Reference, learn
from nightgate.errors import DataUnusable, FileMissing
from nightgate.wording import named


@dataclass(frozen=True)
class Compared:
    """One current file: what was found, and its profile."""

    found: TableDrift
    current: Profile


def compare_files(reference: Path, currents: Sequence[Path], *, time: str | None = None, every: Every = "day",
                  importances: Path | None = None) -> tuple[Reference, list[Compared]]:
    """Compare files with a reference. With `time` the reference's days, weeks or months tell how much its columns wobble.

    Raises FileMissing, and DataUnusable also for importances of no column.
    """
    for path in (reference, *currents, *([importances] if importances else [])):
        if not path.is_file():
            raise FileMissing(f"{path} is not there.", remedy="Name a model, or a reference file and current files.")
    weights = read_importances(importances) if importances else {}
    known = learn(of_file(reference), time=time, every=every, importances=weights)
    if weights and not weights.keys() & known.profile.columns.keys():
        raise DataUnusable(f"{importances} names none of the columns of {reference.name}, but {named(weights)}.",
                           remedy=f"The columns are {named(known.profile.columns, 12)}.")
    if known.profile.rows == 0:
        raise DataUnusable(f"{reference.name} has no rows to compare with.", remedy="Name a reference that has some.")
    found = []
    for path in currents:
        stretches = scan(of_file(path), known.axes, time=time, every=every)
        current = total(stretches.values())
        found.append(Compared(compare(known, current, data=str(path), windows=max(len(stretches), 1)), current))
    return known, found


def read_importances(path: Path) -> dict[str, float]:
    """Read how much each column matters: a JSON object, or a CSV of column and number. Raises DataUnusable."""
    from nightgate.sources.delimited import is_number

    try:
        if path.suffix.lower() == ".json":
            return {str(name): _weight(weight) for name, weight in json.loads(path.read_text(encoding="utf-8")).items()}
        lines = [line.rsplit(",", 1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {name.strip().strip('"'): _weight(weight) for name, weight in lines[0 if is_number(lines[0][-1]) else 1:]}
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        raise DataUnusable(f"{path.name} holds no importances: {str(error)[:200]}",
                           remedy='Write {"income": 0.3, "age": 0.1}, or lines such as income,0.3.') from None


def _weight(value: Any) -> float:
    """Return an importance. One that is infinite, or no number, would leave the limits of all columns without a value."""
    weight = float(value)
    if not math.isfinite(weight):
        raise ValueError(f"{weight} is no importance")
    return weight
