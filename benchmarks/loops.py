"""The closed loop against fixed schedules on streams with known change: the metric of the answers, and how many promotions it took.

It is held against never, weekly, and of the fixed schedules the one whose promotions are as many as its own, or nearest to that.

Sixty nights each: electricity around the opening of the second market (its columns were constant before), bike rental from its first
spring into summer, weather with a hundred days as one night. Contracts ask for rows only: here nothing is dirty. `NIGHTGATE_DATA` names
the folder of the data sets.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.claims import Claim, report
from benchmarks.real_data import data_folder
from nightgate.authoring import Wanted, make
from nightgate.backtesting import SCHEDULES, Backtest, Outcome, backtest
from nightgate.evaluation.metrics import gain
from nightgate.settings import Settings

NIGHTS = 60
CANDIDATES = '\n[candidates.linear]\nestimator = "{}"\n\n[candidates.boosting]\nestimator = "boosting"\n'
ANYTHING = '{"name": "any", "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}'


@dataclass(frozen=True)
class Stream:
    name: str
    target: str
    read: Callable[[Path], pd.DataFrame]
    linear: str = "logistic"


def _electricity(data: Path) -> pd.DataFrame:
    frame = pd.read_csv(data / "elec2/elec.csv").iloc[:(363 + NIGHTS // 2) * 48]
    return frame.assign(at=pd.Timestamp("1996-05-07") + pd.to_timedelta(np.arange(len(frame)) * 30, "min"))


def _bikes(data: Path) -> pd.DataFrame:
    frame = pd.read_csv(data / "bike_sharing/hour.csv").drop(columns=["casual", "registered", "instant"])
    at = pd.to_datetime(frame["dteday"]) + pd.to_timedelta(frame["hr"], "h")
    return frame.drop(columns="dteday").assign(at=at)[at < "2011-07-01"]


def _weather(data: Path) -> pd.DataFrame:
    frame = pd.read_csv(data / "noaa_weather/weather.csv")
    return frame.assign(at=pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(frame)) * 24 * 60 // 100, "min"))


STREAMS = (Stream("electricity", "class", _electricity), Stream("bikes", "cnt", _bikes, "linear"), Stream("weather", "target", _weather))


def measure(quick: bool) -> list[Claim]:
    """All streams; with --quick ten nights of the first, never and on drift."""
    data = data_folder()
    streams, nights = (STREAMS[:1], 10) if quick else (STREAMS, NIGHTS)
    schedules = ("never", "weekly", "on drift") if quick else (*SCHEDULES, "every 3 nights")
    return [claim for stream in streams for claim in _claims(stream, _replayed(stream, data, nights, schedules))]


def _replayed(stream: Stream, data: Path, nights: int, schedules: tuple[str, ...]) -> Backtest:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "models").mkdir()
        stream.read(data).to_csv(root / "data.csv", index=False)
        place = Settings(root, str(root / "store"), f"sqlite:///{root}/registry.db", root / "keys.json")
        made = make(place, Wanted(stream.name, {"data": "data.csv"}, stream.target, time="at"))
        made.definition.write_text(made.definition.read_text() + CANDIDATES.format(stream.linear))
        for path in made.contracts:
            if path.stem in ("raw", "features", "predictions"):
                path.write_text(ANYTHING)
        return backtest(place, stream.name, nights=nights, schedules=schedules)


def _claims(stream: Stream, found: Backtest) -> Iterator[Claim]:
    outcomes = {each.schedule: each for each in found.outcomes}
    for each in found.outcomes:
        print(f"# {stream.name}, {each.schedule}: {found.metric} {_value(each):.4f}, {each.retrainings} retrainings, "
              f"{each.promotions} promotions, {len(each.alarms)} alarms", flush=True)
    loop = outcomes.pop("on drift")
    nearest = min(outcomes.values(), key=lambda each: (abs(each.promotions - loop.promotions), -each.promotions))
    for other in {"never": outcomes["never"], "weekly": outcomes["weekly"], nearest.schedule: nearest}.values():
        yield Claim(f"gain of the closed loop over {other.schedule}, share of its {found.metric}, {stream.name}",
                    float(gain(found.metric, _value(loop), _value(other))) / (abs(_value(other)) or 1.0), 0.0, at_least=True)


def _value(outcome: Outcome) -> float:
    return 0.0 if outcome.loss is None else outcome.loss.value


if __name__ == "__main__":
    report(measure, __doc__ or "")
