"""Inferred contracts let clean nights pass and stop faults."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.contracts.gate import check
from nightgate.contracts.inference import infer_metrics, infer_predictions, infer_raw
from nightgate.contracts.suites import Suite, parse_suite
from nightgate.datasets import Column
from nightgate.definition.model import Definition

DEFINITION = Definition.model_validate({"name": "m", "task": "binary", "target": "y", "positive": "yes", "source": {"data": "x.csv"}})
TYPES = {"income": "number", "age": "integer", "city": "text", "code": "text", "high": "number", "low": "number", "y": "text"}
COLUMNS = tuple(Column(name, kind) for name, kind in TYPES.items())  # type: ignore[arg-type]


def rows(count: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    low = random.exponential(10, count)
    frame = pd.DataFrame({"income": random.lognormal(10, 0.5, count), "age": random.integers(18, 90, count),
                          "city": random.choice(["Bern", "Basel", "Chur", "Genf"], count, p=[0.5, 0.3, 0.19, 0.01]),
                          "code": [f"K{number:05}" for number in random.integers(0, 99_999, count)],
                          "high": low + random.exponential(1, count), "low": low, "y": random.choice(["no", "yes"], count)})
    frame.loc[random.random(count) < 0.1, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    path = tmp_path_factory.mktemp("reference") / "data.parquet"
    rows(5_000, 0).to_parquet(path)
    return parse_suite(infer_raw(path, DEFINITION, COLUMNS, as_of=date(2026, 1, 1)), place="raw")


def passes(contract: Suite, frame: pd.DataFrame, folder: Path) -> bool:
    frame.to_parquet(folder / "night.parquet")
    return check(contract, folder / "night.parquet", boundary="raw").success


@pytest.mark.parametrize("count", [500, 5_000])
def test_clean_nights_pass(count: int, contract: Suite, tmp_path: Path) -> None:
    stopped = [seed for seed in range(1, 41) if not passes(contract, rows(count, seed), tmp_path)]

    assert stopped == []


@given(st.lists(st.sampled_from([-0.0446416369, 0.0506801187, 1e-9 / 3, -2 / 3, 1e12 / 7]), min_size=60, max_size=90))
def test_data_pass_their_own_contract(values: list[float]) -> None:
    import tempfile

    frame = pd.DataFrame({"income": values, "y": ["no", "yes"] * (len(values) // 2) + ["no"] * (len(values) % 2)})
    with tempfile.TemporaryDirectory() as folder:
        frame.to_parquet(Path(folder) / "data.parquet")
        columns = (Column("income", "number"), Column("y", "text"))
        own = parse_suite(infer_raw(Path(folder) / "data.parquet", DEFINITION, columns, as_of=date(2026, 1, 1)), place="raw")

        assert passes(own, frame, Path(folder))


def changed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    some = frame.index % 20 == 0
    match name:
        case "units × 1000":
            frame["income"] *= 1_000
        case "units × 0.001":
            frame["income"] /= 1_000
        case "5 % missing":
            frame.loc[some, "age"] = None
        case "new category":
            frame.loc[some, "city"] = "Zug"
        case "swapped":
            frame[["high", "low"]] = frame[["low", "high"]].to_numpy()
        case "sign flipped":
            frame["income"] *= -1
        case "constant text":
            frame["city"] = "Bern"
        case "constant number":
            frame["income"] = 20_000.0
        case "damaged text":
            frame.loc[frame.index % 10 == 0, "code"] = "KÃ©001"
        case "column gone":
            frame = frame.drop(columns="age")
        case "empty":
            frame = frame.iloc[:0]
        case "target missing":
            frame.loc[0, "y"] = None
    return frame


@pytest.mark.parametrize("fault", ["units × 1000", "units × 0.001", "5 % missing", "new category", "swapped", "sign flipped",
                                   "constant text", "constant number", "damaged text", "column gone", "empty", "target missing"])
def test_faults_are_stopped(fault: str, contract: Suite, tmp_path: Path) -> None:
    assert not passes(contract, changed(fault, rows(5_000, 77)), tmp_path)


def test_a_contract_can_be_read_by_people_and_by_the_library(contract: Suite) -> None:
    import great_expectations as gx

    per_column: dict[str, int] = {}
    for each in contract.checks:
        assert each.notes
        if "column" in each.arguments:
            per_column[each.columns[0]] = per_column.get(each.columns[0], 0) + 1
    theirs = gx.ExpectationSuite(name="raw", expectations=[
        {"type": each.type, "kwargs": dict(each.arguments), "severity": each.severity} for each in contract.checks])

    assert max(per_column.values()) <= 3
    assert len(theirs.expectations) == len(contract.checks)


@pytest.mark.parametrize(("probabilities", "champions", "good"), [
    ([0.1, 0.9], [0.1, 0.8], True), ([0.5, 0.5], [0.5, 0.5], False), ([0.1, 1.2], [0.1, 0.9], False), ([0.1, None], [0.1, 0.9], False),
    ([0.6, 0.7], [0.1, 0.2], False), ([0.1, 0.2], [0.6, 0.7], False)])
def test_predictions_are_probabilities_that_differ_and_stay_as_high_as_the_champions(
        probabilities: list[float], champions: list[float], good: bool, tmp_path: Path) -> None:
    contract = parse_suite(infer_predictions(DEFINITION, np.repeat([0, 1], 500), ("no", "yes")), place="p")
    frame = pd.DataFrame({"probability": probabilities, "before": champions}).eval("change_of_probability = probability - before")

    assert passes(contract, frame, tmp_path) == good


@given(st.floats(0.01, 0.99), st.integers(100, 20_000), st.integers(0, 2**32 - 1))
def test_a_first_model_that_knows_the_share_of_positives_is_never_stopped(share: float, rows: int, seed: int) -> None:
    true = (np.random.default_rng(seed).random(rows) < share).astype(float)
    held = true[:rows // 5]

    limit = next(each["kwargs"]["max_value"] for each in infer_predictions(DEFINITION, true, ("no", "yes"))["expectations"]
                 if each["type"] == "expect_column_mean_to_be_between")

    assert abs(np.mean(held) - np.mean(true)) <= limit


def test_metrics_must_be_there(tmp_path: Path) -> None:
    contract = parse_suite(infer_metrics(DEFINITION), place="m")
    good: dict[str, Any] = {"auc": [0.8], "calibration_error": [0.02]}

    assert passes(contract, pd.DataFrame(good), tmp_path)
    assert not passes(contract, pd.DataFrame({**good, "auc": [None]}), tmp_path)
    assert not passes(contract, pd.DataFrame({**good, "calibration_error": [0.7]}), tmp_path)
