"""The run record: one JSON file per run, from which show, compare, status, card and report are made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nightgate import layouts
from nightgate.datasets import Dataset
from nightgate.errors import FileMissing, StoreError, UsageError
from nightgate.store import Store

KEPT_BY = {"raw": "collect", "features": "engineer"}
"""Boundaries whose data a run keeps, and the stage whose note names them."""

LAYOUT = 1

WAITS = "It waits for approval."
"""How the reason of a run ends that waits for a person; it says something else as soon as somebody has decided."""

Verdict = Literal["promoted", "kept", "stopped", "waiting", "rejected", "rolled_back", "failed"]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GateNumbers:
    """What a gate checked, in numbers; `broken` holds a sentence for each check that failed."""

    boundary: str
    success: bool
    checks: int
    failed: int
    quarantined: int
    seconds: float
    sha256: str
    broken: Sequence[str] = ()


@dataclass(frozen=True)
class CandidateNumbers:
    """A trained candidate: mean score over the folds, its standard deviation, its settings."""

    name: str
    score: float
    deviation: float
    settings: Mapping[str, Any]
    tried: int
    seconds: float
    chosen: bool = False


@dataclass(frozen=True)
class RunRecord:
    """Everything a run says of itself. `metrics` maps challenger, champion and baseline to their figures; `scheduled` is when a night
    was due (ISO), `lag` by how many seconds it began later."""

    model: str
    run: int
    run_id: str
    as_of: str
    verdict: Verdict
    reason: str
    champion_before: int | None
    champion: int | None
    challenger: int | None = None
    metrics: Mapping[str, Mapping[str, Interval] | None] = field(default_factory=dict)
    model_sha256: str | None = None
    gates: Sequence[GateNumbers] = ()
    dataset: Mapping[str, Any] | None = None
    collected: Mapping[str, Any] = field(default_factory=dict)
    candidates: Sequence[CandidateNumbers] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    report: str | None = None
    trigger: str = ""
    scheduled: str | None = None
    lag: float | None = None
    dry_run: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    resumed: bool = False
    error: Mapping[str, Any] | None = None
    layout: int = LAYOUT

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunRecord":
        metrics = {who: None if figures is None else {name: Interval(**figure) for name, figure in figures.items()}
                   for who, figures in value["metrics"].items()}
        gates = [GateNumbers(**gate) for gate in value["gates"]]
        candidates = [CandidateNumbers(**candidate) for candidate in value["candidates"]]
        return cls(**{**value, "metrics": metrics, "gates": gates, "candidates": candidates})


def differing(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what two runs say otherwise, with both; – where one says nothing."""
    return {what: (then.get(what, "–"), now.get(what, "–")) for what in {**then, **now} if then.get(what) != now.get(what)}


def run_key(model: str, run: int) -> str:
    return f"runs/{model}/{run}"


def note_key(model: str, run: int, stage: str) -> str:
    return f"{run_key(model, run)}/notes/{stage}.json"


def gate_note(store: Store, record: RunRecord, boundary: str) -> dict[str, Any]:
    """Return what a run's gate wrote down: its numbers and every result."""
    note: dict[str, Any] = store.read_json(note_key(record.model, record.run, f"gate-{boundary}"))
    return note


def data_of(store: Store, record: RunRecord, boundary: str) -> Dataset:
    """Return the data that a run's gate checked, of a boundary in `KEPT_BY`."""
    return Dataset.from_json(store.read_json(note_key(record.model, record.run, KEPT_BY[boundary]))["dataset"])


def write_record(store: Store, record: RunRecord) -> None:
    store.write_json(f"{run_key(record.model, record.run)}/record.json", record)


def numbered(store: Store, folder: str) -> list[int]:
    """Return the numbers that name what is in a folder, ascending."""
    return sorted(int(name) for name in store.names(folder) if name.isdigit())


def run_numbers(store: Store, model: str) -> list[int]:
    """Return the numbers of the runs that have a record, ascending."""
    return [number for number in numbered(store, f"runs/{model}") if store.exists(f"{run_key(model, number)}/record.json")]


def history(store: Store, model: str) -> list[RunRecord]:
    """Return the records of all finished runs of a model, oldest first; one that is damaged as a failed run that says so."""
    found = []
    for number in run_numbers(store, model):
        try:
            found.append(_read(store, model, number))
        except StoreError as error:
            found.append(RunRecord(model, number, "", "", "failed", error.message, None, None))
    return found


def read_record(store: Store, model: str, which: str | int | None = None) -> RunRecord:
    """Return a run's record by its number or Prefect's run id; the last one when `which` is None.

    Raises FileMissing when there is none, and UsageError when `which` is neither.
    """
    numbers = run_numbers(store, model)
    if not numbers:
        raise FileMissing(f"{model} has no finished run.", remedy=f"`nightgate run {model}` makes one.")
    if which is None:
        return _read(store, model, numbers[-1])
    text = str(which)
    if text.isdigit():
        if int(text) not in numbers:
            raise FileMissing(f"{model} has no finished run {text}, {_shown(numbers)}.",
                              remedy=f"`nightgate history {model}` lists them.")
        return _read(store, model, int(text))
    for number in reversed(numbers):
        record = _read(store, model, number)
        if record.run_id == text:
            return record
    if len(text) != 36:
        raise UsageError(f"`{text}` is neither the number of a run nor Prefect's run id.",
                         remedy=f"`nightgate history {model}` lists both.")
    raise FileMissing(f"{model} has no finished run with the id {text}.", remedy=f"`nightgate history {model}` lists them.")


def _read(store: Store, model: str, number: int) -> RunRecord:
    value = store.read_json(f"{run_key(model, number)}/record.json")
    what = f"The record of run {number} of {model}"
    with layouts.told(what):
        layouts.demand(what, value["layout"], LAYOUT, older=f"`nightgate run {model} --as-of DATE` makes a new one.")
        return RunRecord.from_json(value)


def _shown(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"only run {numbers[0]}"
    return f"runs {', '.join(map(str, numbers))}" if len(numbers) < 8 else f"runs {numbers[0]} to {numbers[-1]}"
