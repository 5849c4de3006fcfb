"""The skeleton of a project: what `nightgate init` writes, from the wheel as well as from a checkout."""

import difflib
import json
import shutil
import sys
from pathlib import Path

from nightgate.definition.model import Definition
from nightgate.errors import FileMissing, UsageError
from nightgate.wording import agreed

PARTS = ("flows", "tasks", "deployments", "data_contracts", "models", "tests/project")
"""Folders that travel; in the wheel they lie in `nightgate/project`."""

HIDDEN = ("__pycache__", ".nightgate")
FILES = {"README.md": "docs/project/README.md", "Makefile": "docs/project/Makefile",
         "pyproject.toml": "docs/project/pyproject.toml", ".gitignore": "docs/project/gitignore"}
OWN = ("models", "data_contracts", "README.md", "pyproject.toml")
"""What belongs to the project's owner after `init`: an upgrade leaves it alone."""


def write(folder: Path) -> list[str]:
    """Write a project into a new or empty folder; return the files written. Raises UsageError when it is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty.", remedy="Name a new folder; `--upgrade` brings a project up to date.")
    written = []
    for name, source in sorted(_skeleton().items()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        written.append(name)
    return written


def upgrade(folder: Path, *, ask: bool) -> list[str]:
    """Bring flows, tasks, deployments and tests of a project up to date; show the difference first, and ask."""
    if not (folder / "models").is_dir():
        raise UsageError(f"{folder} holds no project.", remedy="`nightgate init DIR` writes one.")
    changes = {name: source for name, source in _skeleton().items()
               if not name.startswith(OWN) and _text(folder / name) != _text(source)}
    for name, source in changes.items():
        sys.stderr.writelines(difflib.unified_diff(_text(folder / name).splitlines(keepends=True),
                                                   _text(source).splitlines(keepends=True), f"{name} (yours)", f"{name} (new)"))
    if not changes or (ask and not agreed(f"Change {len(changes)} files?")):
        return []
    for name, source in changes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    write_schema(folder / "models")
    return sorted(changes)


def write_schema(folder: Path) -> None:
    """Write the JSON schema that editors complete definitions by."""
    (folder / "definition.schema.json").write_text(json.dumps(Definition.model_json_schema(), indent=2) + "\n", encoding="utf-8")


def _skeleton() -> dict[str, Path]:
    """Return the project's files by their place in it."""
    package = Path(__file__).parent
    root = package / "project" if (package / "project").is_dir() else package.parent
    if not (root / "flows").is_dir():
        raise FileMissing("This installation of Nightgate lacks the project's skeleton.", remedy="Install Nightgate again.")
    found = {name: root / source for name, source in FILES.items()}
    for part in PARTS:
        place = "tests" if part == "tests/project" else part
        found |= {f"{place}/{inside.as_posix()}": path for path in sorted((root / part).rglob("*"))
                  if path.is_file() and not {*(inside := path.relative_to(root / part)).parts} & {*HIDDEN}}
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
