"""Replaying a past night: the same definition, contracts and champion, in a store of its own; what comes out is compared."""

import json
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from joblib import cpu_count

from nightgate import plain, releases
from nightgate.definition.model import Definition
from nightgate.errors import ContractBroken, LeakFound, UsageError
from nightgate.nights import code_version, night
from nightgate.records import RunRecord, differing, read_record, run_key, run_numbers, write_record
from nightgate.settings import Settings

REPLAYED = ("promoted", "kept", "waiting", "rejected", "stopped")
"""Verdicts of runs that came to an end of their own."""


@dataclass(frozen=True)
class Difference:
    """What came out otherwise, or is otherwise than it was: `then` in the run, `now` in the replay."""

    what: str
    then: str
    now: str


@dataclass(frozen=True)
class Replayed:
    """A replay: `differs` in results makes it not the same; `changed` is what may be the cause."""

    model: str
    run: int
    model_sha256: str | None
    differs: tuple[Difference, ...]
    changed: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        return not self.differs

    def as_json(self) -> dict[str, Any]:
        return {"same": self.same, **asdict(self)}


def replay(settings: Settings, model: str, which: str | int | None = None) -> Replayed:
    """Run a past night again and compare snapshot, gates, candidates, model, figures and verdict; nothing of the project changes.

    Raises UsageError for a run that did not come to an end of its own, and what the stages raise.
    """
    then = read_record(settings.store, model, which)
    if then.verdict not in REPLAYED:
        raise UsageError(f"Run {then.run} of {model} is {then.verdict}: there is nothing to compare with.",
                         remedy=f"`nightgate history {model}` lists the others.")
    with tempfile.TemporaryDirectory(prefix="nightgate-replay-") as folder:
        place = _as_it_was(settings, then, Path(folder))
        now = _run(place, then)
    return Replayed(model, then.run, now.model_sha256, _differences(_results(then), _results(now)),
                    _differences(_causes(then), {**_causes(now), "code": code_version(settings.root)}))


def _as_it_was(settings: Settings, then: RunRecord, folder: Path) -> Settings:
    """Return settings with the contracts, the champion and the masking key's mark of that night, in an empty store."""
    place = Settings(settings.root, str(folder / "store"), f"sqlite:///{folder / 'registry.db'}", settings.keys, folder / "contracts",
                     settings.files)
    (folder / "contracts" / then.model).mkdir(parents=True)
    for gate in then.gates:
        (place.contracts_of(then.model) / f"{gate.boundary}.json").write_bytes(settings.store.read(f"contracts/{gate.sha256}.json"))
    for path in settings.contracts_of(then.model).glob("*.json"):  # of gates that it did not reach
        if not (target := place.contracts_of(then.model) / path.name).exists():
            target.write_bytes(path.read_bytes())
    champion = then.champion_before
    if champion is not None:
        key = releases.release_key(then.model, champion)
        for name in settings.store.names(key):
            place.store.write(f"{key}/{name}", settings.store.read(f"{key}/{name}"))
        releases.point(place.store, then.model, releases.Pointer(
            champion, releases.read_manifest(place.store, then.model, champion).sha256, None, then.as_of, "as it was"))
        if champion in run_numbers(settings.store, then.model):
            write_record(place.store, read_record(settings.store, then.model, champion))
    if settings.store.exists(f"keys/{then.model}.json"):
        place.store.write(f"keys/{then.model}.json", settings.store.read(f"keys/{then.model}.json"))
    place.store.write(f"{run_key(then.model, then.run - 1)}/before", b"")  # so that the run gets its own number
    return place


def _run(place: Settings, then: RunRecord) -> RunRecord:
    definition = Definition.model_validate_json(json.dumps(then.definition))
    try:
        with night(place, then.model, run_id=str(uuid.uuid4()), as_of=date.fromisoformat(then.as_of), definition=definition) as tonight:
            return plain.retrain(tonight, threads=cpu_count())
    except (ContractBroken, LeakFound):
        return read_record(place.store, then.model)


def _results(record: RunRecord) -> dict[str, str]:
    """Return what a night came to, as texts."""
    challenger = record.metrics.get("challenger") or {}
    return {"snapshot": str((record.dataset or {}).get("sha256")), "rows": str((record.dataset or {}).get("rows")),
            **{f"gate {gate.boundary}": f"{'passed' if gate.success else 'stopped'}, {gate.quarantined} set aside"
               for gate in record.gates},
            **{f"candidate {each.name}": f"{each.score!r} with {dict(each.settings)}" for each in record.candidates},
            "model": str(record.model_sha256), **{f"figure {name}": repr(figure.value) for name, figure in challenger.items()},
            "verdict": {"waiting": "promoted", "rejected": "promoted"}.get(record.verdict, record.verdict)}


def _causes(record: RunRecord) -> dict[str, str]:
    return {"code": record.code, **{f"version of {name}": number for name, number in record.versions.items()}}


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[Difference, ...]:
    return tuple(Difference(what, *pair) for what, pair in differing(then, now).items())
