"""Nights of monitoring, kept one record each, and what follows from their order: an alarm opens once, and asks once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from nightgate import layouts
from nightgate.drift.policy import PERFORMANCE, TableDrift
from nightgate.store import Store

CLEAN = 3
"""Clean nights in a row that close an alarm."""

LAYOUT = 1

COOL_DOWN = (1, 2, 4, 7)
"""Nights from one asking for a retraining to the next, at least: the more, the more often an alarm has asked in vain. What has changed is
hardly in the first night's data, and where one retraining gains something, the next one may."""


@dataclass(frozen=True)
class Watched:
    """One night of monitoring. `open_since`: the night on which the alarm that is open was raised; `asks`: whether this night asks
    for a retraining. `columns` map to distance, limit, verdict and why; `gate` is what the drift contract found;
    `requests` are those of the last night: `answered`, and refused by their status."""

    model: str
    as_of: str
    version: int
    rows: int
    calibrated: bool
    success: bool
    columns: Mapping[str, Mapping[str, Any]]
    causes: Sequence[str] = ()
    performance: Mapping[str, Any] = field(default_factory=dict)
    open_since: str | None = None
    opened: bool = False
    asks: bool = False
    report: str | None = None
    gate: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    layout: int = LAYOUT

    @property
    def decided(self) -> bool:
        """Whether anything could be told of the night."""
        return any(each["verdict"] != "undecided" for each in self.columns.values())

    @property
    def reason(self) -> str:
        """Why a retraining is asked for, as the run's name has it."""
        columns = [each for each in self.causes if each != PERFORMANCE]
        told = [f"drift of {', '.join(columns[:3])}"] if columns else []
        told += ["loss of performance"] if PERFORMANCE in self.causes else []
        return " and ".join(told) or "a rule of the drift contract"


def of_comparison(found: TableDrift, *, as_of: date, version: int) -> Watched:
    """Return the record of a night, before what its order among others makes of it."""
    columns: dict[str, Mapping[str, Any]] = found.as_json()["columns"]
    causes = [each.column for each in found.ranked if each.verdict == "alarm"]
    return Watched(found.data, str(as_of), version, found.rows, found.calibrated, not causes, columns, causes)


def placed(night: Watched, before: Sequence[Watched], *, earlier: Watched | None = None) -> Watched:
    """Return a night with its place after others, oldest first: whether an alarm is open, opens now, and asks for a retraining.

    `earlier` is what was found of the same date before: the alarm that it raised is not taken back, nor that it has asked. A rule that
    could not run asks for nothing: no retraining would mend it.
    """
    raised = earlier is not None and (earlier.opened or not earlier.success)
    since, clean, asked = None, 0, list[Watched]()
    for each in [*before, replace(night, opened=raised)]:
        if not each.success or each.opened:
            since, clean = since or each.as_of, 0
        elif each.decided and since is not None:
            clean += 1
            since = None if clean >= CLEAN else since
        asked += [each] if each.asks else []
    asks = not night.success and bool(night.causes or not night.gate.get("errored")) and not _rests(night, asked, since or night.as_of)
    return replace(night, open_since=since, opened=since == night.as_of, asks=asks or (earlier is not None and earlier.asks))


def _rests(night: Watched, asked: Sequence[Watched], since: str) -> bool:
    """Whether it is too early to ask again after nights that have asked, oldest first; `since`: when the alarm was raised."""
    if not asked:
        return False
    in_vain = sum(each.version == night.version and each.as_of >= since for each in asked)
    wait = COOL_DOWN[min(max(in_vain, 1), len(COOL_DOWN)) - 1]
    return (date.fromisoformat(night.as_of) - date.fromisoformat(asked[-1].as_of)).days < wait


def write(store: Store, night: Watched) -> None:
    store.write_json(f"{_folder(night.model)}/{night.as_of}.json", night)


def read(store: Store, model: str) -> list[Watched]:
    """Return the nights of a model, oldest first."""
    return [_read(store, model, name.removesuffix(".json")) for name in store.names(_folder(model)) if name.endswith(".json")]


def report_key(model: str, as_of: str) -> str:
    return f"{_folder(model)}/{as_of}.html"


def _read(store: Store, model: str, name: str) -> Watched:
    value = store.read_json(f"{_folder(model)}/{name}.json")
    what = f"The night of monitoring {name} of {model}"
    with layouts.told(what):
        layouts.demand(what, value["layout"], LAYOUT, older="Remove its file; the nights after it stand by themselves.")
        return Watched(**value)


def _folder(model: str) -> str:
    return f"monitoring/{model}"
