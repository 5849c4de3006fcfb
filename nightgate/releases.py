"""Releases: the folder that the prediction service loads, and the pointer that says which one serves.

A release is written for every evaluated challenger. Promotion only replaces the pointer, whole, in one step.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nightgate.datasets import ColumnType
from nightgate.definition.model import Task
from nightgate.errors import FileMissing, NotVerified
from nightgate.settings import Settings
from nightgate.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

PROBES = 5
"""Hold-out rows whose predictions a release carries, to prove that it loads as it was written."""

TOLERANCE = 1e-9
"""Largest difference of a probe's prediction: a linear model's last bits depend on the machine's BLAS."""


@dataclass(frozen=True)
class Manifest:
    """What a release is made of. `files` maps names to SHA-256; `raw` names the columns it needs of a
    snapshot, with their types."""

    model: str
    version: int
    task: Task
    model_sha256: str
    files: dict[str, str]
    inputs: dict[str, str]
    raw: dict[str, ColumnType]
    classes: list[str]
    threshold: float | None
    dataset: str
    features: str
    contracts: dict[str, str]
    trained_from: str | None
    trained_until: str | None
    code: str
    definition: str
    metrics: dict[str, dict[str, float]]
    layout: int = 1

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Pointer:
    """Which version serves, which one did before, and why."""

    version: int
    manifest_sha256: str
    previous: int | None
    as_of: str
    why: str


@dataclass(frozen=True)
class Release:
    """A release that was read and verified."""

    manifest: Manifest
    pipeline: "Pipeline"
    training_rows: "np.ndarray[Any, np.dtype[np.uint64]]"


def release_key(model: str, version: int) -> str:
    return f"releases/{model}/{version}"


def write_release(store: Store, manifest: Manifest, *, pipeline: "Pipeline", probes: "pd.DataFrame",
                  training_rows: "np.ndarray[Any, np.dtype[np.uint64]]") -> Manifest:
    """Write a release, its manifest last; return the manifest with the hashes of its files.

    `probes` are rows of the pipeline's input; `training_rows` the identities of the rows it was fitted on.
    """
    import joblib
    import numpy as np

    from nightgate.prediction import predict

    key = release_key(manifest.model, manifest.version)
    expected = predict(pipeline, probes, manifest.task)
    contents = {"model.joblib": _dumped(lambda file: joblib.dump(pipeline, file, compress=1)),
                "training_rows.npy": _dumped(lambda file: np.save(file, np.sort(training_rows))),
                "probes.joblib": _dumped(lambda file: joblib.dump((probes, expected), file))}
    for name, content in contents.items():
        store.write(f"{key}/{name}", content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    whole = Manifest(**{**asdict(manifest), "files": files})
    store.write_json(f"{key}/manifest.json", asdict(whole))
    return whole


def read_release(store: Store, model: str, version: int) -> Release:
    """Load a release after checking every hash. Raises FileMissing and NotVerified."""
    import joblib
    import numpy as np

    manifest = read_manifest(store, model, version)
    key = release_key(model, version)
    contents = {name: store.read(f"{key}/{name}") for name in manifest.files}
    changed = [name for name, digest in manifest.files.items() if hashlib.sha256(contents[name]).hexdigest() != digest]
    if changed:
        raise NotVerified(f"Release {version} of {model} was changed after it was written: {', '.join(changed)}.",
                          remedy=f"`nightgate rollback {model} --to VERSION` serves another one; find out who wrote it.")
    return Release(manifest, joblib.load(io.BytesIO(contents["model.joblib"])),
                   np.load(io.BytesIO(contents["training_rows.npy"])))


def read_manifest(store: Store, model: str, version: int) -> Manifest:
    try:
        return Manifest(**store.read_json(f"{release_key(model, version)}/manifest.json"))
    except FileMissing:
        known = ", ".join(map(str, versions(store, model))) or "none"
        raise FileMissing(f"{model} has no release {version}; there are: {known}.",
                          remedy=f"`nightgate history {model}` lists its runs.") from None


def verify(store: Store, model: str, version: int) -> None:
    """Load a release anew and ask it its probes; raise NotVerified when an answer is not the expected one."""
    import joblib
    import numpy as np

    from nightgate.prediction import predict

    release = read_release(store, model, version)
    probes, expected = joblib.load(io.BytesIO(store.read(f"{release_key(model, version)}/probes.joblib")))
    answers = predict(release.pipeline, probes, release.manifest.task)
    if not np.allclose(answers, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = float(np.max(np.abs(np.asarray(answers) - np.asarray(expected))))
        raise NotVerified(f"Release {version} of {model} answers its probes differently by up to {worst:.3g}.",
                          remedy="Compare the versions of scikit-learn and numpy with those that trained it.")


def versions(store: Store, model: str) -> list[int]:
    """Return the versions of a model that have a whole release, ascending."""
    names = store.names(f"releases/{model}")
    return sorted(int(name) for name in names if name.isdigit()
                  and store.exists(f"{release_key(model, int(name))}/manifest.json"))


def read_pointer(store: Store, model: str) -> Pointer | None:
    """Return what serves, or None before the first promotion."""
    try:
        return Pointer(**store.read_json(f"releases/{model}/champion.json"))
    except FileMissing:
        return None


def champion_of(settings: Settings, model: str) -> int | None:
    pointer = read_pointer(settings.store, model)
    return None if pointer is None else pointer.version


def promote(store: Store, model: str, version: int, *, as_of: str, why: str) -> Pointer | None:
    """Make a version serve, and prove that it does; return the pointer before.

    The pointer is replaced in one step. When the release does not verify afterwards, the old pointer is put back and
    NotVerified is raised.
    """
    manifest = read_manifest(store, model, version)
    before = read_pointer(store, model)
    previous = None if before is None else before.previous if before.version == version else before.version
    point(store, model, Pointer(version, manifest.sha256, previous, as_of, why))
    try:
        verify(store, model, version)
    except Exception:
        point(store, model, before)
        raise
    return before


def point(store: Store, model: str, pointer: Pointer | None) -> None:
    """Replace the pointer; None removes it."""
    key = f"releases/{model}/champion.json"
    if pointer is None:
        store.remove(key)
    else:
        store.write_json(key, asdict(pointer))


def _dumped(dump: Any) -> bytes:
    buffer = io.BytesIO()
    dump(buffer)
    return buffer.getvalue()
