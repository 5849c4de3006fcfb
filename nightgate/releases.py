"""Releases: the folder that the prediction service loads, and the pointer that says which one serves.

A release is written for every evaluated challenger. Promotion only replaces the pointer, whole, in one step. Reading one
checks the pointer's hash of the manifest, the manifest's signature where the installation knows a public key, and the hash
of every file. Nothing in a compiled release can run; scikit-learn's pipeline beside it is read by skops, which makes objects
of the types that the manifest lists and of no others.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nightgate import layouts
from nightgate.errors import FileMissing, NotVerified
from nightgate.records import numbered
from nightgate.scoring.form import Form, read
from nightgate.settings import Settings
from nightgate.store import Store

if TYPE_CHECKING:
    import numpy as np
    from sklearn.pipeline import Pipeline

    from nightgate.datasets import ColumnType
    from nightgate.definition.model import Task

PROBES = 5
"""Hold-out rows whose predictions a release carries, to prove that it loads as it was written."""

TOLERANCE = 1e-9
"""Largest difference of a pipeline's probe: a linear model's last bits depend on the machine's BLAS."""

LAYOUT = 2

ADDED = ("keys",)
"""Fields of a manifest that came later: they count when they hold something, so that older releases keep their hash."""

PIPELINE = "pipeline.skops"
DOOR = "door.json"
PROBED = "probes.json"
ROWS = "training_rows.npy"


@dataclass(frozen=True)
class Manifest:
    """What a release is made of. `files` maps names to SHA-256; `raw` names the columns it needs of a snapshot, with their types,
    `keys` those of the entity that it does not need; `falls_back` says why it has no compiled scorer, where it has none; `trusted`
    are the types, beside scikit-learn's own, that its pipeline is made of."""

    model: str
    version: int
    task: "Task"
    model_sha256: str
    files: dict[str, str]
    inputs: dict[str, str]
    raw: "dict[str, ColumnType]"
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
    falls_back: str = ""
    trusted: list[str] = field(default_factory=list)
    keys: "dict[str, ColumnType]" = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    layout: int = LAYOUT

    @property
    def decides_at(self) -> float:
        """The probability from which the positive class is predicted."""
        return 0.5 if self.threshold is None else self.threshold

    @property
    def sha256(self) -> str:
        value = {name: each for name, each in asdict(self).items() if each or name not in ADDED}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


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
    """A release whose manifest, signature and files were verified; `contents` are the files that were asked for."""

    manifest: Manifest
    contents: Mapping[str, bytes]

    @property
    def form(self) -> Form:
        """The compiled scorer. Raises NotVerified where there is none."""
        if self.manifest.falls_back:
            raise NotVerified(f"Release {self.manifest.version} of {self.manifest.model} has no compiled scorer, for want of "
                              f"{self.manifest.falls_back}.")
        return read(dict(self.contents))

    @property
    def pipeline(self) -> "Pipeline":
        """The fitted pipeline, of scikit-learn's types and of those that the manifest lists."""
        import skops.io

        return skops.io.loads(self.contents[PIPELINE], trusted=list(self.manifest.trusted))

    @property
    def training_rows(self) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        """The identities of the rows it was fitted on."""
        import io

        import numpy as np

        rows: np.ndarray[Any, np.dtype[np.uint64]] = np.load(io.BytesIO(self.contents[ROWS]))
        return rows


SCORER = ("scorer.json", "scorer.npz")
SERVED = (*SCORER, DOOR, PROBED)
"""Files that a service reads of a compiled release."""


def release_key(model: str, version: int) -> str:
    return f"releases/{model}/{version}"


def write_release(settings: Settings, manifest: Manifest, contents: Mapping[str, bytes]) -> Manifest:
    """Write a release, its manifest last, signed where the installation has a key; return the manifest with its files' hashes."""
    from nightgate.signing import signature

    key = release_key(manifest.model, manifest.version)
    for name, content in contents.items():
        settings.store.write(f"{key}/{name}", content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    whole = Manifest(**{**asdict(manifest), "files": files})
    if (signed := signature(settings, whole.sha256)) is not None:
        settings.store.write(f"{key}/manifest.sig", signed)
    settings.store.write_json(f"{key}/manifest.json", whole)
    return whole


def sign_releases(settings: Settings) -> int:
    """Sign every release that is there, after checking its files, with the installation's key; return how many.

    For an installation that begins to sign: what served yesterday must serve tomorrow.
    """
    from nightgate.signing import signature

    count = 0
    for model in settings.store.names("releases"):
        for version in versions(settings.store, model):
            manifest = _whole(settings, model, version, None, None).manifest
            signed = signature(settings, manifest.sha256)
            assert signed is not None, "there is a key"
            settings.store.write(f"{release_key(model, version)}/manifest.sig", signed)
            count += 1
    return count


def read_release(settings: Settings, model: str, version: int, *, only: Sequence[str] | None = None, pointed: str | None = None) -> Release:
    """Read a release after checking its manifest, its signature and every file that is read (all, or `only`).

    `pointed` is the hash of the manifest that the pointer has. Raises FileMissing and NotVerified.
    """
    from nightgate.signing import check_signature

    release = _whole(settings, model, version, only, pointed)
    check_signature(settings, release.manifest.sha256, f"{release_key(model, version)}/manifest.sig", f"Release {version} of {model}")
    return release


def _whole(settings: Settings, model: str, version: int, only: Sequence[str] | None, pointed: str | None) -> Release:
    """Read a release and compare its hashes."""
    manifest = read_manifest(settings.store, model, version)
    key = release_key(model, version)
    if pointed is not None and manifest.sha256 != pointed:
        raise _changed(model, version, "its manifest is not the one that was promoted")
    contents = {name: settings.store.read(f"{key}/{name}") for name in manifest.files if only is None or name in only}
    changed = [name for name, content in contents.items() if hashlib.sha256(content).hexdigest() != manifest.files[name]]
    if changed:
        raise _changed(model, version, ", ".join(changed))
    return Release(manifest, contents)


def _changed(model: str, version: int, what: str) -> NotVerified:
    return NotVerified(f"Release {version} of {model} was changed after it was written: {what}.",
                       remedy=f"`nightgate rollback {model} --to VERSION` serves another one; find out who wrote it.")


def read_manifest(store: Store, model: str, version: int) -> Manifest:
    try:
        value = store.read_json(f"{release_key(model, version)}/manifest.json")
    except FileMissing:
        known = ", ".join(map(str, versions(store, model))) or "none"
        raise FileMissing(f"{model} has no release {version}; there are: {known}.",
                          remedy=f"`nightgate history {model}` lists its runs.") from None
    what = f"The manifest of release {version} of {model}"
    with layouts.told(what):
        layouts.demand(what, value["layout"], LAYOUT, older=f"`nightgate run {model}` makes a release that it reads.")
        return Manifest(**value)


def verify(settings: Settings, model: str, version: int, *, pointed: str | None = None) -> None:
    """Load a release anew and ask it its probes; raise NotVerified when an answer is not the expected one."""
    manifest = read_manifest(settings.store, model, version)
    only = (PIPELINE, PROBED) if manifest.falls_back else SERVED
    release = read_release(settings, model, version, only=only, pointed=pointed)
    if manifest.falls_back:
        from nightgate.scoring.scorer import PipelineScorer, frame_of

        rows = json.loads(release.contents[PROBED])["rows"]
        _compare(release, PipelineScorer.of(release).predict(frame_of(rows, manifest.raw)).tolist(), TOLERANCE)
    else:
        from nightgate.scoring.rows import row_scorer

        check_probes(release, row_scorer(release.form))


def check_probes(release: Release, row: Any) -> None:
    """Ask a compiled scorer its release's probes. Raises NotVerified."""
    from datetime import datetime

    dates = [kind == "date" for kind in release.manifest.raw.values()]
    rows = [[datetime.fromisoformat(value) if date and value is not None else value for value, date in zip(row, dates, strict=True)]
            for row in json.loads(release.contents[PROBED])["rows"]]
    _compare(release, [row(*values) for values in rows], 1e-12)


def _compare(release: Release, answers: Any, tolerance: float) -> None:
    expected = json.loads(release.contents[PROBED])["expected"]
    pairs = [(float(one), float(other)) for row, wanted in zip(answers, expected, strict=True)
             for one, other in zip(row if isinstance(row, list) else [row], wanted if isinstance(wanted, list) else [wanted], strict=True)]
    worst = max((abs(one - other) / max(abs(other), 1.0) for one, other in pairs), default=0.0)
    if not worst <= tolerance:
        manifest = release.manifest
        raise NotVerified(f"Release {manifest.version} of {manifest.model} answers its probes differently by up to {worst:.3g}.",
                          remedy="Compare the versions of scikit-learn and numpy with those that trained it.")


def versions(store: Store, model: str) -> list[int]:
    """Return the versions of a model that have a whole release, ascending."""
    return [number for number in numbered(store, f"releases/{model}") if store.exists(f"{release_key(model, number)}/manifest.json")]


def read_pointer(store: Store, model: str) -> Pointer | None:
    """Return what serves, or None before the first promotion."""
    try:
        with layouts.told(f"The pointer to the champion of {model}"):
            return Pointer(**store.read_json(f"releases/{model}/champion.json"))
    except FileMissing:
        return None


def champion_of(settings: Settings, model: str) -> int | None:
    pointer = read_pointer(settings.store, model)
    return None if pointer is None else pointer.version


def promote(settings: Settings, model: str, version: int, *, as_of: str, why: str) -> Pointer | None:
    """Make a version serve, and prove that it does; return the pointer before.

    The pointer is replaced in one step. When the release does not verify afterwards, the old pointer is put back and
    NotVerified is raised.
    """
    store = settings.store
    manifest = read_manifest(store, model, version)
    before = read_pointer(store, model)
    previous = None if before is None else before.previous if before.version == version else before.version
    point(store, model, Pointer(version, manifest.sha256, previous, as_of, why))
    try:
        verify(settings, model, version, pointed=manifest.sha256)
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
        store.write_json(key, pointer)
