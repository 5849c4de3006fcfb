"""Backtest before trust: a model's own history replayed night by night, with labels as late as they were, under several schedules.

Each schedule has a store of its own that is gone afterwards: nothing of the project is changed. Every night the served model answers
the requests of the coming day; monitoring sees the requests of the days before, and only the labels that had arrived.
"""

import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nightgate import plain, stages, watching
from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.drift.reference import WEEK
from nightgate.errors import DataUnusable, UsageError
from nightgate.evaluation.metrics import Scored, measure
from nightgate.monitoring import target_of
from nightgate.nights import night
from nightgate.observing import Observed, batch_of, taken_of
from nightgate.records import Interval
from nightgate.releases import Manifest, champion_of, read_manifest
from nightgate.schedules import today
from nightgate.scoring.scorer import load_scorer
from nightgate.settings import Settings

SCHEDULES = ("never", "weekly", "nightly", "on drift")
"""When a model is retrained after its first night: the last one in the nights on which monitoring asks for it. `every 3 nights` is one,
too."""

EVERY = re.compile(r"every (\d+) nights")


@dataclass
class Told:
    """One night: the `version` that answered, how many rows it answered and refused, the columns that raised an alarm, and the verdict
    of the night's retraining, empty where there was none."""

    day: str
    version: int | None = None
    answers: int = 0
    refused: int = 0
    alarms: Sequence[str] = ()
    retraining: str = ""


@dataclass
class Outcome:
    """What would have happened under one schedule. `loss` is the metric of all answers whose labels are known today."""

    schedule: str
    retrainings: int = 0
    stops: int = 0
    promotions: int = 0
    alarms: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    answers: int = 0
    loss: Interval | None = None
    nights: list[Told] = field(default_factory=list)


@dataclass(frozen=True)
class Backtest:
    """What would have happened on the same nights; `told` says what happened to a simulated stream."""

    model: str
    metric: str
    nights: Sequence[str]
    outcomes: Sequence[Outcome]
    told: str = ""


def backtest(settings: Settings, model: str, *, nights: int, schedules: Sequence[str] = SCHEDULES) -> Backtest:
    """Replay the last nights whose labels are known. Raises UsageError for a model without event time, and DataUnusable."""
    definition = load_definition(definition_path(settings.models, model))
    for schedule in schedules:
        nights_between(schedule)
    if definition.time is None:
        raise UsageError(f"{model} has no event time: its nights cannot be told apart.", remedy="Name its `time` in the definition.")
    history = _history(settings, definition)
    last = history[definition.time].max().date()
    days = [last - timedelta(days=back) for back in range(nights - 1, -1, -1)]
    outcomes = []
    for schedule in schedules:
        with tempfile.TemporaryDirectory(prefix="nightgate-") as folder:
            place = replace(settings, store_url=folder, registry=f"sqlite:///{folder}/registry.db", dask=None)
            outcomes.append(Replay(place, definition, history, Outcome(schedule)).run(days))
    return Backtest(model, definition.metric, [str(day) for day in days], outcomes)


def nights_between(schedule: str) -> int | None:
    """Return every how many nights a schedule retrains, None where no number tells. Raises UsageError for what is no schedule."""
    fixed = {"never": None, "on drift": None, "nightly": 1, "weekly": WEEK}
    if schedule in fixed:
        return fixed[schedule]
    found = EVERY.fullmatch(schedule)
    if found is None or int(found[1]) < 1:
        raise UsageError(f"`{schedule}` is no schedule.", remedy=f"One of {', '.join(SCHEDULES)}, every 3 nights.")
    return int(found[1])


@dataclass
class Replay:
    """One schedule on its way through the nights; a release answers the rows, without a service."""

    place: Settings
    definition: Definition
    history: pd.DataFrame
    outcome: Outcome
    answered: list[tuple[NDArray[Any], NDArray[np.float64]]] = field(default_factory=list)

    def run(self, days: Sequence[date]) -> Outcome:
        for number, day in enumerate(days):
            self.outcome.nights.append(Told(str(day)))
            if self._is_due(number):
                self._retrain(day)
            asks = self._watch(day)
            if asks and self.outcome.schedule == "on drift" and not self.tonight.retraining:
                self._retrain(day)
            self._answer(day)
        self.outcome.loss = self._loss()
        return self.outcome

    @property
    def tonight(self) -> Told:
        return self.outcome.nights[-1]

    def _is_due(self, number: int) -> bool:
        nights = nights_between(self.outcome.schedule)
        return (nights is not None and number % nights == 0) or champion_of(self.place, self.definition.name) is None

    def _retrain(self, day: date) -> None:
        self.outcome.retrainings += 1
        try:
            with night(self.place, self.definition.name, run_id=str(uuid.uuid4()), as_of=day, trigger=self.outcome.schedule) as tonight:
                decision = plain.released(tonight, threads=2)
                if decision.verdict == "promoted":
                    stages.promote(tonight, decision)
                    self.outcome.promotions += 1
                stages.conclude(tonight, decision)
                self.tonight.retraining = decision.verdict
        except DataUnusable as error:  # a gate, a leak, or no data: the night is over, the next one comes
            self.outcome.stops += 1
            self.tonight.retraining = "stopped"
            self.outcome.failed.append(f"{day}: {error.message.splitlines()[0]}")

    def _watch(self, day: date) -> bool:
        version = champion_of(self.place, self.definition.name)
        rows = self._rows(day - timedelta(days=WEEK), day)
        if version is None or rows.empty:
            return False
        found = watching.look(self.place, self.definition.name, as_of=day, seen=self.seen(rows, version, day))
        self.tonight.alarms = found.night.causes
        if found.night.opened:
            self.outcome.alarms.append(f"{day}: {found.night.reason}")
        return found.asks

    def seen(self, rows: pd.DataFrame, version: int, day: date) -> Observed | None:
        """Return the requests of a week as they were known on a day: labels that had not arrived are missing."""
        arrived = self.definition.source.arrived
        if arrived is not None:
            known = (rows[arrived] < pd.Timestamp(day)).to_numpy()
            rows = rows.assign(**{self.definition.target: rows[self.definition.target].where(known)})
        scorer = load_scorer(self.place, self.definition.name, version)

        def blocks() -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64] | None]]:
            yield batch_of(rows), scorer.predict(rows)

        return Observed(blocks, self.definition.time, "the requests of that week")

    def _answer(self, day: date) -> None:
        """Let the champion answer the requests of a day, and keep the answers with the labels as they are known today."""
        version, rows = champion_of(self.place, self.definition.name), self._rows(day, day + timedelta(days=1))
        if version is None or rows.empty:
            return
        manifest = read_manifest(self.place.store, self.definition.name, version)
        answered, said = self.ask(rows, manifest)
        target, known = target_of(rows[self.definition.target][answered], manifest)
        self.answered.append((target[known], said[known]))
        self.outcome.answers += len(said)
        self.tonight.version, self.tonight.answers, self.tonight.refused = version, len(said), len(rows) - len(said)

    def ask(self, rows: pd.DataFrame, manifest: Manifest) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Return which of the rows are answered, and the answers."""
        return np.ones(len(rows), bool), load_scorer(self.place, manifest.model, manifest.version).predict(rows)

    def _rows(self, start: date, end: date) -> pd.DataFrame:
        moments = self.history[self.definition.time]
        return self.history[(moments >= pd.Timestamp(start)) & (moments < pd.Timestamp(end))].reset_index(drop=True)

    def _loss(self) -> Interval | None:
        if not self.answered:
            return None
        target, said = (np.concatenate(parts) for parts in zip(*self.answered, strict=True))
        scored = Scored(self.definition.task, target, said, np.arange(len(target)))
        figures: Mapping[str, Interval] = measure(scored, self.definition.training.seed)
        return figures.get(self.definition.metric)


def _history(settings: Settings, definition: Definition) -> pd.DataFrame:
    """Return all that is known today, shielded as every snapshot."""
    with settings.store.local_copy(taken_of(settings, definition, today(definition)).uri) as path:
        return pd.read_parquet(path)
