"""Keeping trained candidates, so that a run that was killed trains only what had not finished."""

import os
import uuid
from pathlib import Path

import joblib

from nightgate.training.tuning import Trained

FILE = "trained.joblib"


def save(trained: Trained, folder: Path) -> None:
    """Write a candidate into its folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{FILE}.{uuid.uuid4().hex}"
    try:
        joblib.dump(trained, partial, compress=1)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(folder / FILE)
    finally:
        partial.unlink(missing_ok=True)


def load(folder: Path) -> Trained | None:
    """Return the candidate kept in a folder, or None."""
    path = folder / FILE
    return joblib.load(path) if path.exists() else None
