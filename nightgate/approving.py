"""Approval: a person decides about a run that waits, until its time is over."""

import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from nightgate import registry, releases, runs
from nightgate.definition.model import Promotion
from nightgate.errors import UsageError
from nightgate.records import WAITS, RunRecord, history, read_record, write_record
from nightgate.settings import Settings


def decide(settings: Settings, model: str, which: str | int | None, verdict: Literal["approve", "reject"], *, by: str, why: str
           ) -> RunRecord:
    """Approve or reject a waiting run and return its record, which says who decided, when and why.

    Raises UsageError when the run does not wait, or no more, when another champion serves than the one that the run to be approved was
    compared with, when a run to be rejected serves already, or when no reason is given; and ModelBusy.
    """
    if not why.strip():
        raise UsageError("A decision needs a reason: whoever reads the record later wants to know why.", remedy="Give one.")
    with held(settings, model):
        record = read_record(settings.store, model, which)
        _demand(settings, record, verdict)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        outcome: Literal["promoted", "rejected"] = "promoted" if verdict == "approve" else "rejected"
        said = {"by": by, "at": at, "reason": why}
        decided = _ended(record, outcome, said)
        if outcome == "promoted":  # until it serves it waits; `complete` reads who approved, if this is killed
            write_record(settings.store, replace(record, decision={**record.decision, "approved": said}))
            releases.promote(settings, model, record.run, as_of=record.as_of, why=decided.reason)
            registry.reconcile(settings, model)
        write_record(settings.store, decided)
        return decided


def complete(settings: Settings, model: str) -> list[int]:
    """Write down that a run was promoted which waits and serves, and return it: who let it serve was killed. The model must be held."""
    pointer = releases.read_pointer(settings.store, model)
    if pointer is None:
        return []
    served = [record for record in history(settings.store, model) if record.verdict == "waiting" and record.run == pointer.version]
    for record in served:
        said = record.decision.get("approved", {"by": "hand", "reason": pointer.why})
        write_record(settings.store, _ended(record, "promoted", said))
    return [record.run for record in served]


def _ended(record: RunRecord, outcome: Literal["promoted", "rejected"], said: Mapping[str, str]) -> RunRecord:
    """Return the record of a run about which somebody has decided."""
    return replace(_told(record, f"{outcome.capitalize()} by {said['by']}: {said['reason']}"), verdict=outcome,
                   champion=record.run if outcome == "promoted" else record.champion,
                   decision={**{what: each for what, each in record.decision.items() if what != "approved"}, outcome: said})


def _told(record: RunRecord, told: str) -> RunRecord:
    return replace(record, reason=f"{record.reason.removesuffix(WAITS).rstrip()} {told}")


def expire(settings: Settings, model: str) -> list[int]:
    """Let the champion stay where nobody has decided in time; return the runs that this ends. The model must be held."""
    late = [record for record in history(settings.store, model) if record.verdict == "waiting" and datetime.now(UTC) > until(record)]
    if late:
        serves = releases.champion_of(settings, model)  # approved, by somebody who was killed before the record was written
        late = [record for record in late if record.run != serves]
    for record in late:
        told = f"Nobody decided by {until(record):%Y-%m-%d %H:%M} UTC: the champion stays."
        write_record(settings.store, replace(_told(record, told), verdict="rejected"))
    return [record.run for record in late]


def until(record: RunRecord) -> datetime:
    """Return when the time for a decision is over."""
    hours = Promotion.model_validate(record.definition["promotion"]).approve_hours
    return datetime.fromisoformat(record.finished) + timedelta(hours=hours)


def held(settings: Settings, model: str) -> AbstractContextManager[object]:
    """Keep runs of the model away while something is changed by hand."""
    return runs.hold(settings.registry, model, holder_id=f"by-hand-{uuid.uuid4()}")


def _demand(settings: Settings, record: RunRecord, verdict: str) -> None:
    if record.verdict != "waiting":
        raise UsageError(f"Run {record.run} of {record.model} does not wait: it is {record.verdict}.",
                         remedy=f"`nightgate history {record.model}` lists the runs.")
    if datetime.now(UTC) > until(record):
        raise UsageError(f"The time to decide about run {record.run} of {record.model} ended at {until(record):%Y-%m-%d %H:%M} UTC.",
                         remedy=f"The champion stays; `nightgate run {record.model}` compares anew.")
    champion = releases.champion_of(settings, record.model)
    if verdict == "reject" and champion == record.run:  # who approved it was killed before the record was written
        raise UsageError(f"Run {record.run} of {record.model} serves already: somebody has approved it.",
                         remedy=f"`nightgate approve {record.model} {record.run}` completes its record; "
                                f"`nightgate rollback {record.model}` takes it back.")
    if verdict == "approve" and champion not in (record.champion_before, record.run):
        raise UsageError(f"Run {record.run} of {record.model} was compared with {_named(record.champion_before)}; "
                         f"{_named(champion)} serves now.", remedy=f"`nightgate run {record.model}` compares anew.")


def _named(champion: int | None) -> str:
    return "no champion" if champion is None else f"run {champion}"
