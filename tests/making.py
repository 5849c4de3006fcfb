"""Small projects and definitions for tests of the library."""

from pathlib import Path
from typing import Any

from nightgate.definition.model import Definition
from nightgate.settings import Settings


def project(folder: Path) -> Settings:
    """Return the settings of a project in an empty folder."""
    return Settings(folder, str(folder / "store"), f"sqlite:///{folder / 'registry.db'}", folder / "keys.json")


def defined(data: str | Path, **changes: Any) -> Definition:
    """Return a small binary definition over `data`, its target `y`; `changes` are keys as in a model's file."""
    source = {"data": str(data), **changes.pop("source", {})}
    return Definition.model_validate(
        {"name": "credit", "task": "binary", "target": "y", "positive": "yes", "source": source, **changes})
