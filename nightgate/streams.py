"""The simulated stream `credit_applications`: loan applications whose outcome is known weeks later, with drift on demand.

Every day is drawn from the seed and the day alone, so that any window of any night can be drawn again.

Columns: `applicant` (returns from time to time: the entity), `applied_at` (event time), `known_at` (when the outcome was
known; use it as `source.arrived`, so that a run learns only from outcomes known by then), `income`, `age`, `amount`,
`months`, `years_employed` (missing for some), `loans`, `utilisation`, `inquiries`, `purpose`, `employment`, `housing`,
`region`, and `defaulted` (`yes` or `no`). The outcome follows a logistic model of these; knowing it exactly gives an AUC
near 0.79.

Drift, from `drift_from` on: `shift` (applicants with less income ask for more), `concept` (utilisation and housing stop
telling, inquiries tell more), `category` (a purpose never seen before takes 15 %).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nightgate.errors import DefinitionError

BEGINS = date(2024, 1, 1)
"""The first day of the stream."""

DRIFTS = ("none", "shift", "concept", "category")
PURPOSES, PURPOSE_SHARES, PURPOSE_RISKS = ("car", "home", "debt", "study", "business"), (.34, .2, .26, .1, .1), (0., -.2, .5, .1, .7)
EMPLOYMENTS, EMPLOYMENT_SHARES, EMPLOYMENT_RISKS = ("employee", "self_employed", "public", "retired"), (.6, .17, .15, .08), (0., .5, -.5, -.1)
HOUSINGS, HOUSING_SHARES, HOUSING_RISKS = ("rent", "own", "mortgage"), (.48, .22, .3), (.35, -.35, -.1)
REGIONS, REGION_SHARES = ("north", "east", "south", "west"), (.3, .2, .28, .22)


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
        raise DefinitionError(f"source.data: there is no stream `{name}`.", remedy="There is `stream:credit_applications`.")
    last = end.date() if end is not None else BEGINS + timedelta(days=365)
    first = max(BEGINS, start.date()) if start is not None else BEGINS
    return credit_applications(first, last, options(query))


def options(query: str) -> Options:
    """Read `rows_per_day=500&drift=shift&…`; raise DefinitionError naming what is not known."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    known = {field.name: type(field.default) for field in fields(Options)}
    unknown = sorted({*given} - {*known})
    if unknown:
        raise DefinitionError(f"source.data: the stream knows no `{unknown[0]}`.", remedy=f"It knows {', '.join(known)}.")
    try:
        read = Options(**{name: _READERS[known[name]](value) for name, value in given.items()})
    except ValueError as error:
        raise DefinitionError(f"source.data: {error}.", remedy="As in rows_per_day=500&drift=shift&drift_from=2026-06-01."
                              ) from None
    if read.drift not in DRIFTS:
        raise DefinitionError(f"source.data: no drift `{read.drift}`.", remedy=f"One of {', '.join(DRIFTS)}.")
    return read


_READERS = {int: int, str: str, date: date.fromisoformat}


def credit_applications(start: date, end: date, options: Options = Options()) -> Iterator[pa.Table]:  # noqa: B008
    """Yield one table a day, days in [start, end); about `rows_per_day` rows each."""
    for number in range(max(0, (end - start).days)):
        yield _day(start + timedelta(days=number), options)


def _day(day: date, options: Options) -> pa.Table:
    draw = np.random.default_rng([options.seed, day.toordinal()])
    rows = int(draw.poisson(options.rows_per_day))
    drift = options.drift if day >= options.drift_from else "none"
    shifted = drift == "shift"
    income = np.round(np.exp(draw.normal(7.65 if shifted else 7.9, 0.45, rows)), -1)
    amount = np.round(np.exp(draw.normal(9.3 if shifted else 8.9, 0.7, rows)), -2)
    age = np.clip(draw.normal(41, 12.5, rows), 18, 85).astype(np.int64)
    years = np.round(np.minimum(draw.exponential(6.0, rows), age - 17.0), 1)
    utilisation = np.round(draw.beta(1.6, 2.6, rows), 3)
    inquiries, loans = draw.poisson(1.1, rows), draw.poisson(0.8, rows)
    purpose, employment, housing, region = (
        draw.choice(len(shares), rows, p=shares) for shares in (PURPOSE_SHARES, EMPLOYMENT_SHARES, HOUSING_SHARES, REGION_SHARES))
    concept = drift == "concept"
    logit = (-2.15 + 0.55 * np.log(amount / income / 2.7) + (0. if concept else 2.6) * (utilisation - .38)
             + (0.9 if concept else 0.35) * (inquiries - 1.1) + 0.2 * (loans - .8) - 0.06 * (years - 5) - 0.012 * (age - 41)
             + np.take(PURPOSE_RISKS, purpose) + np.take(EMPLOYMENT_RISKS, employment)
             + (0. if concept else 1.) * np.take(HOUSING_RISKS, housing))
    defaulted = draw.random(rows) < 1 / (1 + np.exp(-logit * 1.1))
    seconds = np.sort(draw.integers(0, 86_400, rows))
    known = seconds + options.label_days * 86_400 + (draw.exponential(2 * 86_400, rows)).astype(np.int64)
    purposes = np.where((draw.random(rows) < .15) & (drift == "category"), "solar", np.take(PURPOSES, purpose))
    unknown = draw.random(rows) < 0.04
    return pa.table({
        "applicant": pa.array([f"A{number:07d}" for number in draw.integers(0, 2_000 * options.rows_per_day + 1, rows)]),
        "applied_at": _moments(day, seconds), "known_at": _moments(day, known),
        "income": income, "age": age, "amount": amount, "months": draw.choice([12, 24, 36, 48, 60, 72], rows),
        "years_employed": pa.array(years, mask=unknown), "loans": loans, "utilisation": utilisation, "inquiries": inquiries,
        "purpose": purposes.astype(object), "employment": np.take(EMPLOYMENTS, employment).astype(object),
        "housing": np.take(HOUSINGS, housing).astype(object), "region": np.take(REGIONS, region).astype(object),
        "defaulted": np.where(defaulted, "yes", "no").astype(object),
    })


def _moments(day: date, seconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(np.datetime64(day, "us") + seconds.astype("timedelta64[s]"))
