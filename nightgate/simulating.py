"""Simulation of a stream that drifts, through the real service on an accelerated clock.

Requests go over HTTP to a service in this process, which writes them into its prediction log as of the simulated moment; monitoring
reads that log at every simulated midnight, and asks for a retraining; a promotion moves the pointer, and the service follows it.
"""

import contextlib
import http.client
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nightgate.backtesting import Backtest, Outcome, Replay, nights_between
from nightgate.definition.loading import definition_path, load_definition
from nightgate.definition.model import Definition
from nightgate.errors import NotVerified, UsageError
from nightgate.observing import Observed
from nightgate.releases import Manifest
from nightgate.schedules import today
from nightgate.serving.access import Access
from nightgate.serving.application import POLL_SECONDS, Service
from nightgate.serving.following import Following
from nightgate.serving.metrics import Metrics
from nightgate.serving.running import OWN_MACHINE, beside
from nightgate.settings import Settings
from nightgate.sources import read_chunks

SCHEDULES = ("never", "weekly", "on drift")
"""What is simulated when no schedule is named: a retraining every night takes a night's time every night."""

LOADED = 60.0
"""Seconds within which the service serves what was promoted."""


def simulate(settings: Settings, model: str, *, nights: int, drift: str, schedules: Sequence[str] = SCHEDULES, until: date | None = None
             ) -> Backtest:
    """Let a model of a stream live through the nights before a date, today when absent, of which all but the first third drift.

    Each schedule has a store of its own that is gone afterwards. Raises UsageError for a model of another source or without event time,
    and NotVerified where the service refuses a release.
    """
    definition = load_definition(definition_path(settings.models, model))
    data = definition.source.data
    if not data.startswith("stream:") or definition.time is None:
        raise UsageError(f"{model} reads {data}{'' if definition.time else ' without event time'}, no stream that can be made to drift.",
                         remedy="`nightgate backtest` replays a model's own data.")
    for schedule in schedules:
        nights_between(schedule)
    days = [(until or today(definition)) - timedelta(days=back) for back in range(nights, 0, -1)]
    drifts = days[nights // 3]
    drifting = f"{data}{'&' if '?' in data else '?'}drift={drift}&drift_from={drifts}"
    history, outcomes = _requests(definition, drifting, settings.root, days), []
    for schedule in schedules:
        with tempfile.TemporaryDirectory(prefix="nightgate-") as folder:
            root = Path(folder)
            shutil.copytree(settings.models, root / "models")
            shutil.copytree(settings.contracts_of(model), root / "data_contracts" / model)
            path = definition_path(root / "models", model)
            path.write_text(path.read_text(encoding="utf-8").replace(data, drifting), encoding="utf-8")
            place = Settings(root, str(root / "store"), f"sqlite:///{root / 'registry.db'}", root / "keys.json")
            outcomes.append(_through_the_service(place, load_definition(path), history, Outcome(schedule), days))
    return Backtest(model, definition.metric, [str(day) for day in days], outcomes, _told(definition, history, drift, drifts))


def _told(definition: Definition, history: pd.DataFrame, drift: str, drifts: date) -> str:
    """Return since when the stream drifts, and since when outcomes can tell."""
    if drift == "none":
        return "the stream does not drift"
    since, arrived = f"{drift} drift from {drifts} on", definition.source.arrived
    if arrived is None:
        return since
    known = history[arrived][history[definition.time] >= pd.Timestamp(drifts)].min()
    return f"{since}, its first labels are known on {known:%Y-%m-%d}"


def _through_the_service(place: Settings, definition: Definition, history: pd.DataFrame, outcome: Outcome, days: Sequence[date]) -> Outcome:
    service = Service(place, Following(place, [definition.name], allow_code=True), Access(place.access), Metrics())
    with beside(service) as port:
        found = Served(place, definition, history, outcome, service=service, port=port).run(days)
    service.following.close()
    return found


def _requests(definition: Definition, drifting: str, root: Path, days: Sequence[date]) -> pd.DataFrame:
    """Return the rows of days as the drifting stream gives them, each with what nobody knew then: its label."""
    source = definition.source.model_copy(update={"data": drifting})
    zone = ZoneInfo(definition.schedule.timezone)
    start, end = (datetime.combine(day, time_of_day(), zone) for day in (days[0], days[-1] + timedelta(days=1)))
    found: pd.DataFrame = pa.concat_tables(read_chunks(source, root, start=start, end=end)).to_pandas()
    return found


@dataclass(kw_only=True)
class Served(Replay):
    """One schedule on its way through the nights; a service answers the rows, and its log is what monitoring sees."""

    service: Service
    port: int

    def seen(self, rows: pd.DataFrame, version: int, day: date) -> Observed | None:
        return None  # what the prediction log tells

    def ask(self, rows: pd.DataFrame, manifest: Manifest) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Send one request a row, each at its own moment. Raises NotVerified where another version answers."""
        self._await(manifest)
        zone = ZoneInfo(self.definition.schedule.timezone)
        sent = json.loads(rows[[*manifest.raw, *manifest.keys]].to_json(orient="records", date_format="iso"))
        answers = []
        with contextlib.closing(http.client.HTTPConnection(OWN_MACHINE[0], self.port, timeout=LOADED)) as connection:
            for row, moment in zip(sent, rows[self.definition.time], strict=True):
                self.service.clock = moment.to_pydatetime().replace(tzinfo=zone).timestamp
                connection.request("POST", f"/models/{manifest.model}/predict", json.dumps(row), {"content-type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
                answers.append(_score(content, manifest) if answer.status == 200 else None)
        answered = np.array([each is not None for each in answers])
        return answered, np.array([each for each in answers if each is not None], dtype=np.float64)

    def _await(self, manifest: Manifest) -> None:
        """Wait until the service has followed the pointer."""
        name, give_up = manifest.model, time.monotonic() + LOADED
        while (live := self.service.following.champions.get(name)) is None or live.version != manifest.version:
            if time.monotonic() > give_up:
                refused = [each.told for each in self.service.following.refused.values()]
                raise NotVerified(f"The service does not serve run {manifest.version} of {name}: {'; '.join(refused) or 'it is too slow'}")
            time.sleep(POLL_SECONDS / 4)


def _score(content: Mapping[str, Any], manifest: Manifest) -> float | list[float]:
    """Return the score of the one row of an answer, or that of each class."""
    if content["version"] != manifest.version:
        raise NotVerified(f"The service answers with run {content['version']}; run {manifest.version} was promoted.")
    found = content["predictions"][0]
    if "probabilities" in found:
        return [found["probabilities"][name] for name in manifest.classes]
    score: float = found["probability" if "probability" in found else "prediction"]
    return score
