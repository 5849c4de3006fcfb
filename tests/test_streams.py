"""The simulated stream is the same whenever it is drawn, and drifts when it is told to."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nightgate.errors import DefinitionError
from nightgate.snapshots import collect
from nightgate.sources import read_chunks
from nightgate.streams import DRIFTS, Options, credit_applications, options
from tests.making import defined, project

START, END = date(2026, 3, 1), date(2026, 3, 11)


PLAIN = Options()


def drawn(start: date, end: date, chosen: Options = PLAIN) -> pa.Table:
    return pa.concat_tables(credit_applications(start, end, chosen))


def test_a_day_depends_on_the_seed_and_the_day_alone() -> None:
    whole = drawn(START, END)
    rest = drawn(date(2026, 3, 6), END)

    assert whole.slice(whole.num_rows - rest.num_rows).equals(rest)
    assert not drawn(START, END, Options(seed=1)).equals(whole)


def test_outcomes_are_known_at_least_label_days_later() -> None:
    table = drawn(START, END, Options(label_days=10))

    days = (table["known_at"].to_numpy() - table["applied_at"].to_numpy()) / np.timedelta64(1, "D")

    assert days.min() >= 10
    assert 11 < days.mean() < 13


def test_a_run_learns_only_from_outcomes_known_by_then(tmp_path: Path) -> None:
    definition = defined("stream:credit_applications?rows_per_day=20", target="defaulted", entity="applicant",
                         time="applied_at", window={"days": 60}, source={"arrived": "known_at"})

    snapshot = collect(definition, project(tmp_path), as_of=date(2026, 3, 1))

    assert snapshot.last is not None
    assert datetime.fromisoformat(snapshot.last) < datetime(2026, 1, 31)
    assert snapshot.dropped["not arrived"] > 500
    assert snapshot.late > 0


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_begins_on_its_day_and_not_before(drift: str) -> None:
    plain, drifting = drawn(START, END), drawn(START, END, Options(drift=drift, drift_from=date(2026, 3, 6)))
    before = drawn(START, date(2026, 3, 6)).num_rows

    assert drifting.slice(0, before).equals(plain.slice(0, before))
    assert drifting.equals(plain) == (drift == "none")


def test_drifts_are_what_their_names_say() -> None:
    plain, shift, concept, category = (drawn(START, END, Options(drift=drift)) for drift in DRIFTS)

    assert np.median(shift["income"].to_numpy()) < 0.85 * np.median(plain["income"].to_numpy())
    assert concept.drop_columns("defaulted").equals(plain.drop_columns("defaulted"))
    assert not concept["defaulted"].equals(plain["defaulted"])
    assert {*category["purpose"].to_pylist()} - {*plain["purpose"].to_pylist()} == {"solar"}


def test_known_risk_separates_outcomes_well_but_not_perfectly() -> None:
    table = drawn(date(2026, 1, 1), date(2026, 3, 1))
    bad = np.array(table["defaulted"].to_pylist()) == "yes"
    score = np.log(table["amount"].to_numpy() / table["income"].to_numpy()) + 3 * table["utilisation"].to_numpy()

    ranks = np.argsort(np.argsort(score))
    auc = (ranks[bad].sum() - bad.sum() * (bad.sum() - 1) / 2) / (bad.sum() * (~bad).sum())

    assert 0.08 < bad.mean() < 0.25
    assert 0.65 < auc < 0.8


def test_the_address_says_what_is_drawn(tmp_path: Path) -> None:
    assert options("rows_per_day=7&drift=shift&drift_from=2026-01-01") == Options(7, 0, "shift", date(2026, 1, 1))
    for wrong in ("rows=7", "drift=much", "rows_per_day=many", "drift_from=soon"):
        with pytest.raises(DefinitionError):
            options(wrong)
    with pytest.raises(DefinitionError, match="no stream `loans`"):
        next(read_chunks(defined("stream:loans").source, tmp_path))
