"""Nightgate: retrain models every night and let nothing through that was not checked."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightgate.notebook import Model

__all__ = ["open"]

# Threads that wait for each other spin; where other programs use the cores too, boosting then took 38.6 s instead of 1.1 s.
# GNU's OpenMP reads this once, when scikit-learn loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# Great Expectations reports its use to its makers otherwise.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")


def open(name: str) -> "Model":  # noqa: A001 - `nightgate.open("credit")` is how people say it
    """Open a model of the project: `nightgate.open("credit").run().verdict`."""
    from nightgate.notebook import open_model

    return open_model(name)
