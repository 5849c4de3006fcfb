"""The simulated stream `credit_applications`: loan applications whose outcome is known weeks later; drift on demand.

Every day is drawn from the seed and the day alone, so that any window of any night can be drawn again.

Columns: `applicant` (returns from time to time: the entity), `applied_at` (event time), `known_at` (when the outcome
was known; use it as `source.arrived`, so that a run learns only from outcomes known by then), `income`, `age`,
`amount`, `months`, `years_employed` (missing for some), `loans`, `utilisation`, `inquiries`, `purpose`, `employment`,
`housing`, `region`, and `defaulted` (`yes` or `no`). The outcome follows a logistic model of these; knowing it exactly
gives an AUC near 0.79.

Drift, from `drift_from` on: `shift` (applicants with less income ask for more), `concept` (utilisation and housing stop
telling, inquiries tell more), `category` (a purpose never seen before takes 15 %).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nightgate.errors import DefinitionError

BEGINS = date(2024, 1, 1)
"""The first day of the stream."""

DRIFTS = ("none", "shift", "concept", "category")
CHOICES: dict[str, dict[str, tuple[float, float]]] = {
    "purpose": {"car": (.34, 0.), "home": (.2, -.2), "debt": (.26, .5), "study": (.1, .1), "business": (.1, .7)},
    "employment": {"employee": (.6, 0.), "self_employed": (.17, .5), "public": (.15, -.5), "retired": (.08, -.1)},
    "housing": {"rent": (.48, .35), "own": (.22, -.35), "mortgage": (.3, -.1)},
    "region": {"north": (.3, 0.), "east": (.2, 0.), "south": (.28, 0.), "west": (.22, 0.)},
}
"""Of each category: its share, and what it adds to the logit."""


@dataclass(frozen=True)
class Options:
    """What may stand behind the `?` of `stream:credit_applications?…`."""

    rows_per_day: int = 500
    seed: int = 0
    drift: str = "none"
    drift_from: date = BEGINS
    label_days: int = 30


def stream(address: str, start: datetime | None, end: datetime | None) -> Iterator[pa.Table]:
    """Yield the days in [start, end) of `credit_applications?…`; without an end, the stream's first year."""
    name, _, query = address.partition("?")
    if name != "credit_applications":
        raise DefinitionError(f"source.data: there is no stream `{name}`.",
                              remedy="There is `stream:credit_applications`.")
    last = end.date() if end is not None else BEGINS + timedelta(days=365)
    first = max(BEGINS, start.date()) if start is not None else BEGINS
    return credit_applications(first, last, options(query))


def options(query: str) -> Options:
    """Read `rows_per_day=500&drift=shift&…`; raise DefinitionError naming what is not known."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    known = {field.name: _READERS[type(field.default)] for field in fields(Options)}
    unknown = sorted({*given} - {*known})
    if unknown:
        raise DefinitionError(f"source.data: the stream knows no `{unknown[0]}`.",
                              remedy=f"It knows {', '.join(known)}.")
    try:
        read = Options(**{name: known[name](value) for name, value in given.items()})
    except ValueError as error:
        raise DefinitionError(f"source.data: {error}.",
                              remedy="As in rows_per_day=500&drift=shift&drift_from=2026-06-01.") from None
    if read.drift not in DRIFTS:
        raise DefinitionError(f"source.data: no drift `{read.drift}`.", remedy=f"One of {', '.join(DRIFTS)}.")
    return read


_READERS: dict[type, Callable[[str], Any]] = {int: int, str: str, date: date.fromisoformat}


def credit_applications(start: date, end: date, options: Options = Options()) -> Iterator[pa.Table]:
    """Yield one table a day, days in [start, end); about `rows_per_day` rows each."""
    for number in range(max(0, (end - start).days)):
        yield _day(start + timedelta(days=number), options)


def _day(day: date, options: Options) -> pa.Table:
    draw = np.random.default_rng([options.seed, day.toordinal()])
    rows = int(draw.poisson(options.rows_per_day))
    drift = options.drift if day >= options.drift_from else "none"
    numbers = _numbers(draw, rows, shifted=drift == "shift")
    choices = {name: draw.choice(len(levels), rows, p=[share for share, _ in levels.values()])
               for name, levels in CHOICES.items()}
    defaulted = draw.random(rows) < 1 / (1 + np.exp(-_logit(numbers, choices, drift == "concept")))
    seconds = np.sort(draw.integers(0, 86_400, rows))
    known = seconds + options.label_days * 86_400 + draw.exponential(2 * 86_400, rows).astype(np.int64)
    applicants = draw.integers(0, 2_000 * options.rows_per_day + 1, rows)
    labels = {name: np.take(np.array(list(levels), object), choices[name]) for name, levels in CHOICES.items()}
    unseen = (draw.random(rows) < .15) & (drift == "category")
    unknown = draw.random(rows) < 0.04
    return pa.table({
        "applicant": [f"A{number:07d}" for number in applicants],
        "applied_at": _moments(day, seconds), "known_at": _moments(day, known),
        **{name: values for name, values in numbers.items() if name != "years_employed"},
        "years_employed": pa.array(numbers["years_employed"], mask=unknown),
        "months": draw.choice([12, 24, 36, 48, 60, 72], rows),
        **labels, "purpose": np.where(unseen, "solar", labels["purpose"]),
        "defaulted": np.where(defaulted, "yes", "no").astype(object),
    })


def _numbers(draw: np.random.Generator, rows: int, *, shifted: bool) -> dict[str, NDArray[Any]]:
    age = np.clip(draw.normal(41, 12.5, rows), 18, 85).astype(np.int64)
    return {
        "age": age,
        "income": np.round(np.exp(draw.normal(7.65 if shifted else 7.9, 0.45, rows)), -1),
        "amount": np.round(np.exp(draw.normal(9.3 if shifted else 8.9, 0.7, rows)), -2),
        "years_employed": np.round(np.minimum(draw.exponential(6.0, rows), age - 17.0), 1),
        "utilisation": np.round(draw.beta(1.6, 2.6, rows), 3),
        "inquiries": draw.poisson(1.1, rows),
        "loans": draw.poisson(0.8, rows),
    }


def _logit(numbers: dict[str, NDArray[Any]], choices: dict[str, NDArray[Any]], concept: bool) -> NDArray[np.float64]:
    """Return the log odds of default; with `concept`, utilisation and housing tell nothing and inquiries more."""
    risks = {name: np.take([risk for _, risk in levels.values()], choices[name]) for name, levels in CHOICES.items()}
    logit = (-2.3 + 0.6 * np.log(numbers["amount"] / numbers["income"] / 2.7)
             + (0. if concept else 2.9) * (numbers["utilisation"] - .38)
             + (0.9 if concept else 0.4) * (numbers["inquiries"] - 1.1) + 0.2 * (numbers["loans"] - .8)
             - 0.07 * (numbers["years_employed"] - 5) - 0.013 * (numbers["age"] - 41)
             + risks["purpose"] + risks["employment"] + (0. if concept else 1.) * risks["housing"])
    return np.asarray(1.1 * logit, dtype=np.float64)


def _moments(day: date, seconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(np.datetime64(day, "us") + seconds.astype("timedelta64[s]"))
