"""Decisions: the statistics against brute force, and the rules as facts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.decisions import Comparison, compare, decide
from nightgate.definition.loading import parse_definition
from nightgate.definition.model import Definition
from nightgate.evaluation.metrics import Scored
from nightgate.records import Interval


def scored(seed: int, rows: int = 400, shift: float = 1.0) -> Scored:
    random = np.random.default_rng(seed)
    target = (np.random.default_rng(99).random(rows) < 0.4).astype(int)
    prediction = 1 / (1 + np.exp(-(shift * target + random.normal(size=rows))))
    return Scored("binary", target, prediction, np.arange(rows))


def defined(**promotion: object) -> Definition:
    definition, mistakes = parse_definition({"name": "m", "task": "binary", "target": "y", "positive": "1",
                                             "source": {"data": "x.csv"}, "promotion": promotion})
    assert definition is not None, mistakes
    return definition


def comparison(bound: float, gain: float = 0.02) -> Comparison:
    return Comparison("auc", 0.8, 0.8 - gain, Interval(gain, gain - 0.01, gain + 0.01), bound, 0.003, 1_000)


def test_delong_variance_agrees_with_the_jackknife() -> None:
    first, second = scored(1), scored(2, shift=0.7)
    rows = len(first.target)
    gains = []
    for left_out in range(rows):
        keep = np.arange(rows) != left_out
        pair = (one.only(keep) for one in (first, second))
        gains.append(compare("auc", *pair, level=0.025, seed=0).gain.value)
    jackknife = np.sqrt((rows - 1) / rows * np.sum((np.array(gains) - np.mean(gains)) ** 2))

    found = compare("auc", first, second, level=0.025, seed=0).gain
    error = (found.high - found.low) / 2 / 1.975  # Student's t with some 160 degrees of freedom

    assert error == pytest.approx(jackknife, rel=0.03)


@given(st.sampled_from(["auc", "log_loss", "brier", "accuracy", "f1", "average_precision"]), st.integers(0, 50))
def test_a_model_is_never_better_than_itself(metric: str, seed: int) -> None:
    one = scored(seed, rows=60)

    found = compare(metric, one, one, level=0.4, seed=0)  # type: ignore[arg-type]

    assert found.gain.value == 0.0 and not found.bound > 0


@given(st.permutations(range(60)))
def test_row_order_never_matters_for_auc(order: list[int]) -> None:
    first, second = scored(1, rows=60), scored(2, rows=60)
    moved = [Scored("binary", one.target[order], one.prediction[order], np.arange(60)) for one in (first, second)]

    before, after = (compare("auc", *pair, level=0.01, seed=0) for pair in ((first, second), moved))

    assert after.bound == pytest.approx(before.bound, abs=1e-12)


@pytest.mark.parametrize(("promotion", "bound", "verdict"), [
    ({}, 0.001, "promoted"), ({}, -0.001, "kept"), ({}, 0.0, "kept"),
    ({"rule": "not_worse", "margin": 0.01}, -0.005, "promoted"), ({"rule": "not_worse", "margin": 0.01}, -0.02, "kept"),
    ({"approve": True}, 0.001, "waiting"), ({"approve": True}, -0.001, "kept")])
def test_rules(promotion: dict[str, object], bound: float, verdict: str) -> None:
    decided = decide(defined(**promotion), against_champion=comparison(bound), against_baseline=comparison(0.2, 0.3),
                     champion=1, challenger=2)

    assert decided.verdict == verdict
    assert str(2) in decided.sentence


def test_a_first_model_must_beat_the_baseline() -> None:
    beaten = decide(defined(), against_champion=None, against_baseline=comparison(0.1), champion=None, challenger=1)
    trivial = decide(defined(), against_champion=None, against_baseline=comparison(-0.1), champion=None, challenger=1)

    assert (beaten.verdict, beaten.rule, trivial.verdict, trivial.rule) == ("promoted", "first", "kept", "baseline")


def test_a_champion_that_cannot_be_compared_stays() -> None:
    decided = decide(defined(), against_champion=None, against_baseline=comparison(0.1), champion=3, challenger=4,
                     unscored="It needs income.")

    assert decided.verdict == "kept" and "It needs income." in decided.sentence


def test_a_champion_that_was_learnt_again_stays() -> None:
    same = comparison(0.0)

    decision = decide(defined(), against_champion=same, against_baseline=comparison(0.1), champion=1, challenger=2, same=True)

    assert decision.verdict == "kept" and "the very same model" in decision.sentence


def test_few_rows_in_perfect_order_prove_little() -> None:
    perfect = Scored("binary", np.array([1] + 11 * [0]), np.linspace(1, 0, 12), np.arange(12))
    trivial = Scored("binary", perfect.target, np.full(12, 0.5), np.arange(12))

    assert compare("auc", perfect, trivial, level=0.025, seed=0).bound < 0
