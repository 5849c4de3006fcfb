"""One night: a run of one model from its start to its record, with what each stage noted on the way.

Notes are small JSON files in the run's folder, so that a run that was killed and resumed still tells the whole story.
"""

import contextlib
import hashlib
import json
import logging
import platform
import resource
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nightgate import approving, registry, releases, runs, schedules
from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.errors import ContractBroken, LeakFound, NightgateError, NotVerified, StoreError, UsageError, bounded
from nightgate.records import (
    CandidateNumbers,
    GateNumbers,
    Interval,
    RunRecord,
    Verdict,
    numbered,
    run_key,
    write_record,
)
from nightgate.settings import Settings

log = logging.getLogger("nightgate")
begun = logging.getLogger("nightgate_begun")
"""Says which stage is under way, to a terminal; the run's own log needs only what came of it."""

LONGEST_REASON = 1_000
"""Characters of a failure's reason in a record; its error has the whole."""

PACKAGES = ("nightgate", "scikit-learn", "numpy", "pandas", "pyarrow")
"""What a model's numbers depend on, named in every record."""


@dataclass(frozen=True)
class Night:
    """What every stage of a run needs to know. `token` is the run's own, kept when it is resumed: a model of the same name
    that is made anew counts its runs from 1 again."""

    settings: Settings
    definition: Definition
    run: runs.Run
    as_of: date
    started: str
    token: str
    trigger: str = ""
    overrides: Mapping[str, str] | None = None
    scheduled: datetime | None = None
    dry_run: bool = False
    cpu_before: float = 0.0
    clock_before: float = 0.0
    """What `time.perf_counter` said when this process began the run: the clock on the wall may be put back meanwhile."""

    @property
    def folder(self) -> str:
        return run_key(self.run.model, self.run.run)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage; what it puts into the yielded dict is kept with the time, and `told` is said in the log."""
        notes: dict[str, Any] = {}
        begin, began = time.perf_counter(), time.time()
        begun.info(name)
        try:
            yield notes
        finally:
            seconds = time.perf_counter() - begin
            told = notes.pop("told", "")
            self.demand_store()
            self.note(name, {**notes, "began": began, "seconds": round(seconds, 3)})
            log.info("%s: %s (%.1f s)", name, told or "stopped", seconds,
                     extra={"stage": name, "told": told, "seconds": seconds})

    def demand_store(self) -> None:
        """Raise StoreError where the store has lost this run: one made anew in its place would look like a model without a champion."""
        if not self.settings.store.exists(f"{self.folder}/notes/begin.json"):
            raise StoreError(f"The store {self.settings.store.url} has lost what run {self.run.run} of {self.run.model} wrote into it: it "
                             "was removed or replaced while the run went on, or its disk is gone.",
                             remedy=f"Bring it back, or set NIGHTGATE_STORE; then `nightgate run {self.run.model}` runs the night again.")

    def note(self, name: str, value: Mapping[str, Any]) -> None:
        self.settings.store.write_json(f"{self.folder}/notes/{name}.json", value)

    def notes(self) -> dict[str, dict[str, Any]]:
        store = self.settings.store
        return {name.removesuffix(".json"): store.read_json(f"{self.folder}/notes/{name}")
                for name in store.names(f"{self.folder}/notes")}


@contextlib.contextmanager
def night(settings: Settings, model: str, *, run_id: str, as_of: date | None = None,
          overrides: Mapping[str, str] | None = None, trigger: str = "", scheduled: datetime | None = None,
          dry_run: bool = False, definition: Definition | None = None) -> Iterator[Night]:
    """Hold a model for one run and write its record, however it ends. `scheduled` is when a night was due that nobody started by hand;
    `definition` stands in the place of the file's.

    Raises NotNeeded for a night that has its run, ModelBusy, and what the stages raise.
    """
    begun_at = datetime.now(UTC)
    definition = definition or load_definition(definition_path(settings.models, model), dict(overrides or {}))
    today = datetime.now(ZoneInfo(definition.schedule.timezone)).date()
    if as_of is not None and as_of > today:
        raise UsageError(f"--as-of {as_of} is in the future.", remedy=f"The last date is today, {today}.")
    as_of = as_of or (today if scheduled is None else schedules.night_of(definition.schedule, scheduled))
    key = hashlib.sha256(json.dumps([definition.model_dump(mode="json"), str(as_of), code_version(settings.root), dry_run],
                                    sort_keys=True).encode()).hexdigest()
    taken = max(numbered(settings.store, f"runs/{model}"), default=0)

    def needed() -> None:
        if scheduled is not None:
            schedules.demand(settings.store, model, definition.schedule, scheduled, begun_at)

    with runs.lease(settings.registry, model, run_id=run_id, key=key, after=taken, needed=needed) as run:
        tonight = Night(settings, definition, run, as_of, begun_at.isoformat(timespec="seconds"), "", trigger, overrides, scheduled,
                        dry_run, _cpu_seconds(), time.perf_counter())
        begin = tonight.notes().get("begin") if run.resumed else None
        begin = begin or {"champion": releases.champion_of(settings, model), "token": uuid.uuid4().hex, "as_of": str(as_of),
                          "started": tonight.started, "run_id": run_id, "trigger": trigger}
        tonight.note("begin", begin)
        tonight = replace(tonight, token=begin["token"])
        try:
            bury(settings, definition, before=run.run)
            approving.expire(settings, model)
            registry.reconcile(settings, model)
            yield tonight
        except BaseException as error:
            tonight.demand_store()
            conclude(tonight, _reported(tonight, _record_of_failure(tonight, error)))
            raise


def conclude(night: Night, record: RunRecord) -> RunRecord:
    """Write the record and close the run. Raises StoreError where the store has lost the run."""
    night.demand_store()
    write_record(night.settings.store, record)
    runs.conclude(night.settings.registry, night.run, record.verdict)
    return record


def assemble(night: Night, verdict: Verdict, reason: str) -> RunRecord:
    """Make the run record of what the stages have noted so far."""
    notes = night.notes()
    evaluated = notes.get("evaluate", {})
    collected = notes.get("collect", {})
    decided = notes.get("decide", {})
    candidates = [CandidateNumbers(**note["candidate"]) for name, note in notes.items() if "candidate" in note]
    chosen = evaluated.get("chosen")
    metrics = {who: None if figures is None else {name: Interval(**figure) for name, figure in figures.items()}
               for who, figures in evaluated.get("metrics", {}).items()}
    return RunRecord(
        model=night.run.model, run=night.run.run, run_id=night.run.run_id, as_of=str(night.as_of), verdict=verdict,
        reason=reason, champion_before=notes.get("begin", {}).get("champion"),
        champion=releases.champion_of(night.settings, night.run.model),
        challenger=night.run.run if "release" in notes else None, metrics=metrics,
        model_sha256=evaluated.get("model_sha256"),
        gates=[GateNumbers(**notes[f"gate-{boundary}"]["gate"])
               for boundary in ("raw", "features", "predictions", "metrics") if "gate" in notes.get(f"gate-{boundary}", {})],
        dataset=collected.get("dataset"), collected=collected.get("collected", {}),
        candidates=sorted((replace(each, chosen=each.name == chosen) for each in candidates), key=lambda each: each.name),
        evaluation=evaluated.get("evaluation", {}), decision=decided.get("decision", {}),
        warnings=notes.get("look-for-leaks", {}).get("warnings", []),
        seconds={name: note["seconds"] for name, note in sorted(notes.items(), key=lambda named: named[1].get("began", 0.0))
                 if "seconds" in note},
        report=notes.get("report", {}).get("report"), trigger=night.trigger, overrides=night.overrides or {},
        scheduled=None if night.scheduled is None else night.scheduled.isoformat(),
        lag=None if night.scheduled is None else _lag(night.started, night.scheduled),
        dry_run=night.dry_run, cost=_cost(night, notes),
        definition=night.definition.model_dump(mode="json"), code=code_version(night.settings.root),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        started=night.started, finished=max(night.started, datetime.now(UTC).isoformat(timespec="seconds")), resumed=night.run.resumed)


@cache
def code_version(root: Path) -> str:
    """Return a hash of the project's own code and Nightgate's version: what a run's numbers may depend on."""
    digest = hashlib.sha256(version("nightgate").encode())
    for path in sorted((root / "models").glob("**/*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _cost(night: Night, notes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return what a run took: wall and processor seconds, the largest memory of a process of it, and the bytes that it stored."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024
    stored = [notes[stage]["dataset"]["uri"] for stage in ("collect", "engineer") if "dataset" in notes.get(stage, {})]
    store = night.settings.store
    sizes = [store.size(key) for uri in stored if store.exists(key := uri.removeprefix(f"{store.url.rstrip('/')}/"))]
    return {"wall_seconds": round(time.perf_counter() - night.clock_before, 1) if night.clock_before else 0.0,
            "cpu_seconds": round(_cpu_seconds() - night.cpu_before, 1), "peak_bytes": max(own.ru_maxrss, children.ru_maxrss) * unit,
            "stored_bytes": sum(sizes) + (store.size(night.folder) if store.exists(night.folder) else 0)}


def _lag(started: str, scheduled: datetime) -> float:
    """Return by how many seconds a night began later than it was due."""
    return max(0.0, round((datetime.fromisoformat(started) - scheduled).total_seconds(), 1))


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _record_of_failure(night: Night, error: BaseException) -> RunRecord:
    promoting = "promote" in night.notes()
    serves = promoting and releases.champion_of(night.settings, night.run.model) == night.run.run
    verdict: Verdict = "stopped" if isinstance(error, ContractBroken | LeakFound) else \
        "promoted" if serves else "rolled_back" if promoting and isinstance(error, NotVerified) else "failed"
    if isinstance(error, NightgateError):
        told = error.as_json()
    else:
        name = "Interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
        message = f"{name}: {error}" if str(error) else f"{name}."
        told = {"kind": name, "message": message[:1_000], "remedy": "The log of the run has the traceback."}
    reason = bounded(" ".join(line.strip() for line in told["message"].splitlines()), LONGEST_REASON)
    return replace(assemble(night, verdict, reason), error=told)


def _reported(night: Night, record: RunRecord) -> RunRecord:
    """Write the report of a run that ended early; what keeps the store from taking it is not what ended the run."""
    from nightgate.reports import writing

    try:
        return replace(record, report=writing.write(night.settings.store, record, ()).report_address)
    except NightgateError:
        return record


def bury(settings: Settings, definition: Definition, *, before: int) -> list[int]:
    """Write the records of runs that ended without a word, as a machine that loses its power does; return their numbers.

    `before`: the first number that may still run.
    """
    store, model, found = settings.store, definition.name, []
    for number in numbered(store, f"runs/{model}"):
        if number >= before or store.exists(f"{run_key(model, number)}/record.json"):
            continue
        dead = Night(settings, definition, runs.Run(model, number, ""), date.min, datetime.now(UTC).isoformat(timespec="seconds"), "")
        if (begin := dead.notes().get("begin")) is None:
            continue  # it had hardly begun
        dead = replace(dead, run=replace(dead.run, run_id=begin["run_id"]), trigger=begin["trigger"], started=begin["started"],
                       as_of=date.fromisoformat(begin["as_of"]))
        serves = releases.champion_of(settings, model) == number
        told = f"Run {number} ended without a word: it was killed, or its machine died."
        conclude(dead, assemble(dead, "promoted" if serves else "failed", told))
        found.append(number)
    return found
