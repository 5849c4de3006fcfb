"""Metrics with intervals: the values are scikit-learn's, the intervals are of the same data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from nightgate.evaluation.metrics import MOST_BLOCKS, Scored, blocks_of, measure, score, value_of
from nightgate.evaluation.parts import calibration_error, curves


def binary(seed: int = 0, rows: int = 300) -> Scored:
    random = np.random.default_rng(seed)
    target = (random.random(rows) < 0.35).astype(int)
    prediction = np.clip(0.3 * target + random.random(rows) * 0.7, 0.01, 0.99).round(2)
    return Scored("binary", target, prediction, np.arange(rows), threshold=0.5)


def multiclass(seed: int = 0, rows: int = 300) -> Scored:
    random = np.random.default_rng(seed)
    target = random.integers(0, 3, rows)
    raw = random.random((rows, 3)) + np.eye(3)[target] * 0.5
    return Scored("multiclass", target, raw / raw.sum(axis=1, keepdims=True), np.arange(rows))


def values(seed: int = 0, rows: int = 300) -> Scored:
    random = np.random.default_rng(seed)
    target = random.normal(100, 20, rows)
    return Scored("regression", target, target + random.normal(3, 5, rows), np.arange(rows))


@given(st.integers(0, 200))
def test_binary_values_are_scikit_learns(seed: int) -> None:
    one = binary(seed)
    said = one.prediction >= 0.5

    expected = {"auc": reference.roc_auc_score(one.target, one.prediction),
                "average_precision": reference.average_precision_score(one.target, one.prediction),
                "log_loss": reference.log_loss(one.target, one.prediction),
                "brier": reference.brier_score_loss(one.target, one.prediction),
                "accuracy": reference.accuracy_score(one.target, said), "f1": reference.f1_score(one.target, said),
                "balanced_accuracy": reference.balanced_accuracy_score(one.target, said)}

    assert {name: value_of(name, one) for name in expected} == pytest.approx(expected)  # type: ignore[arg-type]
    assert {name: score(name, one.target, one.prediction) for name in expected} == pytest.approx(expected)  # type: ignore[arg-type]


def test_values_of_classes_and_numbers_are_scikit_learns() -> None:
    one, other = multiclass(), values()
    said = one.prediction.argmax(axis=1)
    expected = {"log_loss": reference.log_loss(one.target, one.prediction), "accuracy": reference.accuracy_score(one.target, said),
                "auc": reference.roc_auc_score(one.target, one.prediction, multi_class="ovr"),
                "f1": reference.f1_score(one.target, said, average="macro"),
                "balanced_accuracy": reference.balanced_accuracy_score(one.target, said)}

    assert {name: value_of(name, one) for name in expected} == pytest.approx(expected)  # type: ignore[arg-type]
    assert value_of("rmse", other) == pytest.approx(reference.root_mean_squared_error(other.target, other.prediction))
    assert value_of("mae", other) == pytest.approx(reference.mean_absolute_error(other.target, other.prediction))
    assert value_of("r2", other) == pytest.approx(reference.r2_score(other.target, other.prediction))


@pytest.mark.parametrize("one", [binary(), multiclass(), values()], ids=lambda one: one.task)
def test_every_interval_holds_its_value(one: Scored) -> None:
    for name, figure in measure(one, seed=0).items():
        assert figure.low <= figure.value <= figure.high, name
        assert figure.low < figure.high, name


def test_intervals_cover_the_truth() -> None:
    """Of 200 samples of a known AUC, near 95 % of the intervals hold it."""
    random, truth, held = np.random.default_rng(5), reference_auc(), 0
    for _ in range(200):
        target = (random.random(400) < 0.4).astype(int)
        one = Scored("binary", target, target + random.normal(size=400), np.arange(400))
        figure = measure(one, seed=0)["auc"]
        held += figure.low <= truth <= figure.high

    assert 0.90 <= held / 200 <= 0.99


def reference_auc() -> float:
    from scipy.stats import norm

    return float(norm.cdf(1 / np.sqrt(2)))


def test_rows_of_one_group_are_resampled_together() -> None:
    one = values(rows=200)
    twice = Scored("regression", np.tile(one.target, 2), np.tile(one.prediction, 2), np.tile(one.blocks, 2))

    assert measure(twice, seed=0)["rmse"] == measure(one, seed=0)["rmse"]


def test_many_groups_are_joined_into_blocks() -> None:
    blocks = blocks_of(np.arange(20_000, dtype=np.uint64), seed=0)

    assert len(np.unique(blocks)) == MOST_BLOCKS
    assert np.bincount(blocks).max() == 4


def test_curves_end_where_they_must() -> None:
    drawn = curves(binary())

    assert drawn["roc"][0] == [0.0, 0.0] and drawn["roc"][-1] == [1.0, 1.0]
    assert sum(map(sum, drawn["confusion"])) == 300
    assert sum(each["rows"] for each in drawn["calibration"]) == 300
    assert 0 <= (calibration_error(binary()) or 0) <= 1
    assert calibration_error(values()) is None
