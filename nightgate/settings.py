"""Settings of an installation: where the project, the store, the registry and the keys are.

Each comes from the environment, else from `[tool.nightgate]` in the project's pyproject.toml, else from the default.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from nightgate.addresses import expanded, shown
from nightgate.errors import DefinitionError, UsageError
from nightgate.store import Store

MARK = "pyproject.toml"
REGISTRIES = ("sqlite:///", "postgresql://", "postgresql+")
KNOWN = ("store", "registry", "keys", "signing_key", "public_key", "access", "compute.dask")
DEPLOYED = "NIGHTGATE_DEPLOYED"
"""The version that wrote a deployment, as a pool's workers are told it."""


@dataclass(frozen=True)
class Settings:
    """Where things are; `root` is the project's folder."""

    root: Path
    store_url: str
    registry: str
    keys: Path
    contracts: Path | None = None
    """Where contracts are that do not stand in the project, as those of a past night."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Key files that were named: `signing_key`, `public_key`, `access`; others lie beside `keys`."""
    dask: str | None = None
    """The scheduler of a Dask cluster that trains and scores, `compute.dask`; without one this machine does."""

    @property
    def signing_key(self) -> Path:
        """The private key that signs releases."""
        return self.files.get("signing_key", self.keys.with_name("signing.pem"))

    @property
    def public_key(self) -> Path:
        """The public key that releases must be signed with, where there is one."""
        return self.files.get("public_key", self.keys.with_name("signing.pub"))

    @property
    def access(self) -> Path:
        """Who may ask the prediction service."""
        return self.files.get("access", self.keys.with_name("access.json"))

    @property
    def store(self) -> Store:
        return Store(self.store_url)

    @property
    def models(self) -> Path:
        return self.root / "models"

    def contracts_of(self, model: str) -> Path:
        return (self.contracts or self.root / "data_contracts") / model


def project_root() -> Path:
    """Return the nearest folder upwards that holds pyproject.toml and models/; raise UsageError when there is none.

    `NIGHTGATE_PROJECT` names it outright.
    """
    named = os.environ.get("NIGHTGATE_PROJECT")
    if named:
        return Path(named).resolve()
    start = Path.cwd()
    for folder in (start, *start.parents):
        if (folder / MARK).is_file() and (folder / "models").is_dir():
            return folder
    raise UsageError(f"{start} is in no Nightgate project: no folder upwards has pyproject.toml and models/.",
                     remedy="Go to your project's folder, or make one with `nightgate init DIR`.")


def importable(root: Path) -> None:
    """Put a project's root on the import path, once."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def settings(root: Path | None = None) -> Settings:
    """Return the settings of the project, whose own code can be imported then.

    Raises UsageError outside a project, and on a worker of another version than what was deployed; DefinitionError for an unknown key in
    `[tool.nightgate]`, and StoreError for a store that cannot be read.
    """
    root = root or project_root()
    _demand_deployed()
    importable(root)
    table = _table(root)
    store = _absolute(root, os.environ.get("NIGHTGATE_STORE") or table.get("store") or ".nightgate")
    registry = expanded(os.environ.get("NIGHTGATE_REGISTRY") or table.get("registry") or _beside(store, root))
    if not registry.startswith(REGISTRIES):
        raise DefinitionError(f"The registry `{shown(registry)}` is no URL of a database that serves as one.",
                              remedy="Such as sqlite:////var/lib/nightgate/registry.db or postgresql://user:${PASSWORD}@host/nightgate.")
    keys = os.environ.get("NIGHTGATE_KEYS") or table.get("keys") or str(root / ".nightgate" / "keys.json")
    named = {name: os.environ.get(f"NIGHTGATE_{name.upper()}") or table.get(name) for name in ("signing_key", "public_key", "access")}
    files = {name: Path(_absolute(root, place)) for name, place in named.items() if place}
    dask = os.environ.get("NIGHTGATE_COMPUTE_DASK") or table.get("compute.dask")
    Store(store).demand_readable()
    return Settings(root, store, registry, Path(_absolute(root, keys)), files=files, dask=expanded(dask) if dask else None)


def _demand_deployed() -> None:
    if (wanted := os.environ.get(DEPLOYED)) and wanted != (here := version("nightgate")):
        raise UsageError(f"This worker has Nightgate {here}, and what was deployed is of {wanted}.",
                         remedy=f"Install Nightgate {wanted} where the worker runs, or call `nightgate deploy` with {here}.")


def _table(root: Path) -> dict[str, str]:
    path = root / MARK
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("nightgate", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path} cannot be read: {error}.", remedy="Mend the file.") from None
    compute = table.pop("compute", {})
    table |= {f"compute.{key}": value for key, value in compute.items()} if isinstance(compute, dict) else {"compute": compute}
    unknown = sorted(key for key, value in table.items() if key not in KNOWN or not isinstance(value, str))
    if unknown:
        raise DefinitionError(f"{path}: [tool.nightgate] has what is not known or no text: {', '.join(unknown)}.",
                              remedy=f"Known, each a text: {', '.join(KNOWN)}.")
    return dict(table)


def _absolute(root: Path, place: str) -> str:
    return place if "://" in place else str((root / Path(place).expanduser()).resolve())


def _beside(store: str, root: Path) -> str:
    """Return the URL of the SQLite file that serves as registry when none is named."""
    folder = root / ".nightgate" if "://" in store else Path(store)
    return f"sqlite:///{folder / 'registry.db'}"
