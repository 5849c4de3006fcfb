"""Performance: estimates that are right while the concept holds, labels that come late, twice, corrected or wrong."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from nightgate.definition.model import METRICS_OF, Metric
from nightgate.drift.performance import Promise, estimate, join_labels, perform, promise
from nightgate.evaluation.metrics import Scored, interval
from nightgate.records import Interval


def binary(rows: int, seed: int, *, spread: float = 1.0, concept: float = 1.0) -> Scored:
    random = np.random.default_rng(seed)
    signal = random.normal(0, spread, rows)
    target = random.random(rows) < 1 / (1 + np.exp(-2 * concept * signal))
    return Scored("binary", target.astype(int), 1 / (1 + np.exp(-signal)), np.arange(rows))  # not calibrated: half as sure as it may be


def regression(rows: int, seed: int, *, moved: float = 0.0) -> Scored:
    random = np.random.default_rng(seed)
    prediction = random.normal(moved, 1, rows)
    return Scored("regression", prediction + random.normal(0, np.exp(prediction / 2), rows), prediction, np.arange(rows))


def promised(scored: Scored, metric: Metric) -> Promise:
    return promise(scored, metric, interval(metric, scored, 0))


@pytest.mark.parametrize("metric", ["auc", "log_loss", "brier", "accuracy", "f1", "balanced_accuracy"])
def test_what_is_estimated_comes_true_when_the_inputs_change(metric: Metric) -> None:
    made, harder = promised(binary(20_000, 1), metric), binary(20_000, 2, spread=0.5)

    found = estimate(made, harder.prediction)

    truth = interval(metric, harder, 0)
    assert found == pytest.approx(truth.value, abs=0.015) and found != pytest.approx(made.promised.value, abs=0.005)


def test_an_estimate_is_blind_to_another_concept() -> None:
    made, other = promised(binary(20_000, 1), "auc"), binary(20_000, 2, concept=0.2)

    found = perform(made, other.prediction, other)

    assert found.estimated == pytest.approx(made.promised.value, abs=0.015)
    assert found.lost and found.realised is not None and found.realised.high < made.promised.low


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_errors_of_a_regression_are_estimated_by_the_size_of_the_prediction(metric: Metric) -> None:
    made, other = promised(regression(20_000, 1), metric), regression(20_000, 2, moved=0.5)

    found = perform(made, other.prediction, other)

    assert found.estimated == pytest.approx(interval(metric, other, 0).value, rel=0.1) and found.lost


def test_several_classes_are_estimated() -> None:
    random = np.random.default_rng(0)
    share = random.dirichlet([1, 1, 1], 20_000)
    target = np.array([random.choice(3, p=each) for each in share])
    scored = Scored("multiclass", target, share, np.arange(20_000))

    for metric in ("accuracy", "log_loss"):
        made = promised(scored, metric)  # type: ignore[arg-type]
        assert estimate(made, share) == pytest.approx(made.promised.value, abs=0.02)
    assert estimate(promised(scored, "f1"), share) is None


@pytest.mark.parametrize("metric", METRICS_OF["binary"])
def test_few_rows_estimate_nothing_and_lose_nothing(metric: Metric) -> None:
    scored = binary(50, 1)
    made = promise(scored, metric, Interval(0.7, 0.6, 0.8))

    found = perform(made, scored.prediction, scored)

    assert (found.estimated, found.realised, found.lost, found.labelled) == (None, None, False, 50)
    assert Promise.from_json(asdict(made)) == made


def test_clean_windows_keep_the_promise() -> None:
    made = promised(binary(5_000, 1), "auc")

    assert sum(perform(made, (window := binary(1_000, seed)).prediction, window).lost for seed in range(2, 102)) <= 1


@pytest.mark.parametrize("metric", METRICS_OF["binary"])
def test_a_hundred_labels_of_a_clean_window_raise_no_alarm(metric: Metric) -> None:
    def rare(rows: int, seed: int) -> Scored:
        random = np.random.default_rng(seed)
        target = random.random(rows) < 0.1
        return Scored("binary", target.astype(int), 1 / (1 + np.exp(2 - random.normal(2 * target, 1))), np.arange(rows))

    made = promised(rare(1_000, 1), metric)

    assert sum(perform(made, (window := rare(100, seed)).prediction, window).lost for seed in range(2, 102)) <= 3


def test_labels_are_joined_however_they_come() -> None:
    predictions = pd.DataFrame({"id": [1, 2, 3, 4, 5, 5], "prediction": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
    labels = pd.DataFrame([(1, "no", 1), (2, "no", 1), (2, "yes", 3), (3, "no", 2), (3, "yes", 2), (4, "no", 2), (4, "no", 2), (5, "yes", 9), (6, "no", 1),
                           (1, None, 3)], columns=["id", "target", "day"]).assign(day=lambda frame: pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["day"], "D"))

    made = join_labels(predictions, labels, keys=["id"], target="target", arrived="day", until=pd.Timestamp("2026-01-06"))
    later = join_labels(predictions, labels, keys=["id"], target="target", arrived="day")

    assert made.rows.set_index("id")["target"].to_dict() == {1: "no", 2: "yes", 4: "no"}
    assert made.odd == {"corrected": 1, "contradicting each other": 2, "repeated": 1, "asked for more than once": 1, "for unknown entities": 1, "not there yet": 2}
    assert later.rows.set_index("id").loc[5].to_dict() == {"prediction": 0.6, "target": "yes"}


def test_nothing_joins_to_nothing() -> None:
    empty = pd.DataFrame({"id": [], "target": []})

    assert len(join_labels(empty.rename(columns={"target": "prediction"}), empty, keys=["id"], target="target").rows) == 0
