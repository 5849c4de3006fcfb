"""Nightgate: retrain models every night and let nothing through that was not checked."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightgate.notebook import Model

__all__ = ["open"]


def open(name: str) -> "Model":  # noqa: A001 - `nightgate.open("credit")` is how people say it
    """Open a model of the project: `nightgate.open("credit").run().verdict`."""
    from nightgate.notebook import open_model

    return open_model(name)
