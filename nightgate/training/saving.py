"""Keeping trained candidates in the store, so that a run that was killed trains only what had not finished, on whatever machine."""

import io

import joblib

from nightgate.store import Store
from nightgate.training.tuning import Trained

FILE = "trained.joblib"


def save(trained: Trained, store: Store, key: str) -> None:
    """Write a candidate under its key, whole or not at all."""
    content = io.BytesIO()
    joblib.dump(trained, content, compress=1)
    store.write(f"{key}/{FILE}", content.getvalue())


def load(store: Store, key: str) -> Trained | None:
    """Return the candidate kept under a key, or None."""
    return joblib.load(io.BytesIO(store.read(f"{key}/{FILE}"))) if store.exists(f"{key}/{FILE}") else None
