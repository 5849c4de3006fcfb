"""Leaks are found by name with their evidence, and honest columns are left alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightgate import leakage
from nightgate.definition.model import Definition
from nightgate.splits import holdout_split
from nightgate.tables import Table

DATA = Path(__file__).resolve().parents[2] / "shared/data"


def defined(task: str = "binary", **changes: object) -> Definition:
    positive = {"positive": "1"} if task == "binary" else {}
    return Definition.model_validate({"name": "m", "task": task, "target": "y", "source": {"data": "x.csv"}, **positive, **changes})


def table(frame: pd.DataFrame, target: np.ndarray, time: np.ndarray | None = None) -> Table:
    rows = np.random.default_rng(1).integers(0, 2**63, len(frame)).astype(np.uint64)
    return Table(frame, target, ("0", "1"), rows, rows, time, pd.DataFrame(index=frame.index), 0)


def found(definition: Definition, one: Table) -> dict[str, leakage.Leak]:
    return {leak.kind: leak for leak in leakage.find(definition, one, holdout_split(one, definition))}


def honest(rows: int = 2_000) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=rows) for name in "abcd"})
    target = (frame["a"] + random.normal(size=rows) > 0).to_numpy().astype(np.int8)
    return frame, target


def test_honest_columns_are_no_leak() -> None:
    assert found(defined(), table(*honest())) == {}


def test_two_columns_that_add_up_to_the_target_are_named() -> None:
    frame, _ = honest()
    frame["casual"], frame["registered"] = np.abs(frame["a"] * 10).round(), np.abs(frame["b"] * 50).round()

    leak = found(defined("regression"), table(frame, (frame["casual"] + frame["registered"]).to_numpy()))["near perfect"]

    assert leak.stops and leak.columns == ("casual", "registered") and "R² 1.0000" in leak.evidence


def test_a_column_that_knows_the_class_is_named_and_may_be_allowed() -> None:
    frame, target = honest()
    frame["score"] = target * 3.0 + frame["c"] / 10

    assert found(defined(), table(frame, target))["near perfect"].columns == ("score",)
    assert found(defined(columns={"allow": ["score"]}), table(frame, target)) == {}


def test_gaps_filled_class_by_class_are_named() -> None:
    frame, target = honest()
    gaps = np.random.default_rng(3).random(len(frame)) < 0.1
    frame.loc[gaps, "d"] = np.where(target[gaps] == 1, 0.1025, 0.1695)

    leak = found(defined(), table(frame, target))["fill value"]

    assert leak.stops and leak.columns == ("d",)


def test_a_number_that_counts_with_time_is_named() -> None:
    frame, target = honest()
    time = np.datetime64("2026-01-01", "us") + np.arange(len(frame)) * np.timedelta64(1, "h")
    frame["ticket"] = np.arange(len(frame)) * 3 + 7.0

    assert found(defined(time="t"), table(frame, target, time))["clock"].columns == ("ticket",)


@pytest.mark.parametrize(("copies", "stops"), [(4, False), (400, True)])
def test_rows_on_both_sides_are_counted(copies: int, stops: bool) -> None:
    frame, target = honest()
    frame, target = pd.concat([frame, frame[:copies]], ignore_index=True), np.concatenate([target, target[:copies]])

    leak = found(defined(), table(frame, target))["equal rows"]

    assert leak.stops == stops and "held-out rows" in leak.evidence


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not here")
@pytest.mark.parametrize(("file", "target", "leaks"), [
    ("bike_sharing/hour.csv", "cnt", {"casual", "registered", "instant"}),
    ("ai4i2020/ai4i2020.csv", "Machine failure", {"TWF", "HDF", "PWF", "OSF"}),
    ("adult/adult.data", "column_15", set()), ("german_credit/german.csv", "column_21", set()),
    ("taiwan_default/UCI_Credit_Card.csv", "default.payment.next.month", set()),
    ("telco_churn/Telco-Customer-Churn.csv", "Churn", set())])
def test_real_leaks_are_excluded_and_honest_sets_are_not_stopped(file: str, target: str, leaks: set[str], tmp_path: Path) -> None:
    from nightgate.authoring import Wanted, make
    from tests.making import project

    (tmp_path / "models").mkdir()

    made = make(project(tmp_path), Wanted("m", {"data": str(DATA / file)}, target))

    assert {name for name, reason in made.guesses.excluded.items() if "leak" in reason} == leaks


def test_rows_that_all_have_a_twin_are_found() -> None:
    frame, target = honest()
    twice = pd.concat([frame, frame], ignore_index=True)

    assert found(defined(), table(twice, np.concatenate([target, target])))["equal rows"].stops


def test_two_columns_that_add_up_to_the_class_are_named() -> None:
    frame, target = honest()
    frame["part"] = np.random.default_rng(5).normal(0, 10, len(frame))
    frame["rest"] = target - frame["part"]

    assert {"part", "rest"} <= set(found(defined(), table(frame, target))["near perfect"].columns)


def test_a_model_all_of_whose_columns_are_allowed_is_left_alone() -> None:
    frame, target = honest()

    assert found(defined(columns={"allow": list("abcd")}), table(frame, target)) == {}
