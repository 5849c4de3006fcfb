"""What a person must hear of: failed nights, broken contracts, drift, nights without a verdict, old champions, a disk that is nearly full.

One cause is one message, however many models and nights it meets; it is told once, and again when it comes back.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from nightgate import episodes
from nightgate.definition.loading import definition_path, load_definition, model_names
from nightgate.definition.model import Definition
from nightgate.errors import NightgateError, StoreError, bounded
from nightgate.records import RunRecord, history
from nightgate.releases import read_pointer
from nightgate.schedules import due, night_of
from nightgate.settings import Settings

FULL = 0.9
"""Share of a disk in use from which it is nearly full."""

TOLD = "alerts.json"
MOST_MODELS = 5
LONGEST = 800
"""Characters of an error that a message repeats."""


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong: `key` tells causes apart, `sentence` says what a person needs at night, `models` whom it meets."""

    key: str
    sentence: str
    models: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        more = f" and {len(self.models) - MOST_MODELS} more" if len(self.models) > MOST_MODELS else ""
        return f"{', '.join(self.models[:MOST_MODELS])}{more}: {self.sentence}" if self.models else self.sentence


def causes(settings: Settings, now: datetime) -> list[Cause]:
    """Return what is wrong now, each cause once with all models that it meets."""
    found: dict[str, Cause] = {}
    for each in (*_of_disk(settings), *(cause for model in model_names(settings.models) for cause in _seen(settings, model, now))):
        before = found.get(each.key)
        found[each.key] = each if before is None else Cause(each.key, before.sentence, (*before.models, *each.models))
    return list(found.values())


def fresh(settings: Settings, found: list[Cause]) -> list[Cause]:
    """Return the causes that nobody was told of; all of them where the store, which remembers, cannot be read."""
    with contextlib.suppress(StoreError):
        told = settings.store.read_json(TOLD) if settings.store.exists(TOLD) else {}
        return [each for each in found if each.key not in told]
    return found


def remember(settings: Settings, told: list[Cause]) -> None:
    """Remember what people know: what is not among it is told when it comes again."""
    with contextlib.suppress(StoreError):  # a cause by itself, and told
        settings.store.write_json(TOLD, {each.key: list(each.models) for each in told})


def _seen(settings: Settings, model: str, now: datetime) -> Iterator[Cause]:
    """Yield what is wrong with a model; that it cannot be looked at is a cause, too, and keeps no other from being told."""
    try:
        yield from _of_model(settings, model, now)
    except NightgateError as error:
        told = bounded(error.message, LONGEST)
        yield Cause(f"{type(error).__name__} {told}", f"{told}\n{error.remedy} `nightgate doctor` tells more.", (model,))


def _of_model(settings: Settings, model: str, now: datetime) -> Iterator[Cause]:
    definition = load_definition(definition_path(settings.models, model))
    records = history(settings.store, model)
    if records and records[-1].verdict in ("failed", "stopped", "rolled_back"):
        yield _failed(records[-1])
    yield from _without_verdict(definition, records, now)
    yield from _of_drift(settings, model)
    pointer = read_pointer(settings.store, model)
    champion = next((record for record in records if pointer is not None and record.run == pointer.version), None)
    limit = definition.alerts.champion_days
    if limit is not None and champion is not None and (age := (now - datetime.fromisoformat(champion.started)).days) > limit:
        yield Cause(f"old champion {model}", f"run {champion.run} has served for {age} days, {limit} are allowed: "
                    f"`nightgate history {model}` says why none took its place.", (model,))


def _of_drift(settings: Settings, model: str) -> Iterator[Cause]:
    """Yield the alarm of monitoring that is open."""
    nights = episodes.read(settings.store, model)
    if nights and (since := nights[-1].open_since) is not None:
        last = next(night for night in reversed(nights) if not night.success)
        yield Cause(f"drift {model} {since}", f"{last.reason}, an alarm since {since}. Report: {last.report}", (model,))


def _failed(record: RunRecord) -> Cause:
    """Return why a run failed; the same words about other models and numbers are the same cause."""
    error = record.error or {}
    told = bounded(str(error.get("message") or record.reason), LONGEST)
    rules = [rule for gate in record.gates for rule in gate.broken]
    plain = re.sub(r"\d+", "#", "; ".join(rules or [record.reason]).replace(record.model, "MODEL"))
    return Cause(f"{error.get('kind', record.verdict)} {plain}", f"run {record.run} is {record.verdict}: {told} "
                 f"{error.get('remedy', '')} Report: {record.report or '–'}", (record.model,))


def _without_verdict(definition: Definition, records: list[RunRecord], now: datetime) -> Iterator[Cause]:
    """Yield a night that was due and has no verdict by the time of day that the definition names."""
    if definition.alerts.verdict_by is None:
        return
    zone = ZoneInfo(definition.schedule.timezone)
    moments = list(due(definition.schedule, now - timedelta(days=2), now))
    night = night_of(definition.schedule, moments[-1]) if moments else None
    if night is None or now < datetime.combine(night, time.fromisoformat(definition.alerts.verdict_by), zone):
        return
    if not any(record.as_of == str(night) and record.verdict != "failed" for record in records):
        yield Cause(f"no verdict {night}", f"no verdict for the night of {night} by {definition.alerts.verdict_by}: is `nightgate up` "
                    "running? `nightgate status --all` shows the others.", (definition.name,))


def _of_disk(settings: Settings) -> Iterator[Cause]:
    local = settings.store.local
    if local is None or not local.is_dir():
        return
    usage = shutil.disk_usage(local)
    if usage.used > FULL * (usage.used + usage.free):
        yield Cause("disk", f"the disk of {local} has {usage.free / 2**30:.1f} GiB left: `nightgate clean --dry-run` shows what may go.")
