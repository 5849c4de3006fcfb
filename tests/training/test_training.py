"""Tables, splits and training: what decides a model, and what must not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from nightgate.datasets import GROUP, ROW, Column, Dataset
from nightgate.definition.model import Candidate, Definition
from nightgate.errors import DataUnusable, DefinitionError
from nightgate.prediction import predict
from nightgate.splits import folds, holdout_split
from nightgate.store import Store
from nightgate.tables import Table, read_table
from nightgate.training import tuning
from nightgate.training.candidates import BASELINE, candidates_of
from nightgate.training.identity import model_sha256
from nightgate.training.saving import load, save
from nightgate.training.signatures import unknown_parameters
from nightgate.training.tuning import Trained, Work, choose, choose_threshold, train_candidate

LOGISTIC = Candidate(estimator="logistic", search={"C": [0.1, 1.0]})
FOREST = Candidate(estimator="forest", parameters={"n_estimators": 10})
LEAVES = Candidate(estimator="forest", parameters={"n_estimators": 50, "min_samples_leaf": 7})
BOOSTING = Candidate(estimator="boosting", search={"max_iter": [5, 20]})
RIDGE = Candidate(estimator="linear", search={"alpha": [0.1, 10.0]})
TYPES = {"a": "number", "b": "number", "c": "text", "y": "text", "t": "date", ROW: "integer", GROUP: "integer"}


def defined(task: str = "binary", **changes: Any) -> Definition:
    positive = {"positive": "yes"} if task == "binary" else {}
    return Definition.model_validate({"name": "m", "task": task, "target": "y", "source": {"data": "x.csv"}, **positive, **changes})


def frame(rows: int = 400, seed: int = 0, task: str = "binary") -> pd.DataFrame:
    random = np.random.default_rng(seed)
    made = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows), "c": random.choice(["u", "v", "w"], rows)})
    signal = made["a"] + (made["c"] == "u") + random.normal(size=rows)
    made["y"] = signal if task == "regression" else np.where(signal > 0.3, "yes", "no") if task == "binary" else \
        pd.cut(signal, [-np.inf, -0.5, 1.0, np.inf], labels=["low", "mid", "top"]).astype(str)
    made.loc[::17, "b"], made.loc[::19, "c"] = np.nan, None
    made["t"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 10_000, rows), unit="m")
    made[ROW] = random.integers(0, 2**63, rows).astype(np.uint64)
    made[GROUP] = made[ROW]
    return made


def read(folder: Path, made: pd.DataFrame, definition: Definition) -> Table:
    made.to_parquet(folder / "t.parquet", index=False)
    kinds = {**TYPES, "y": "number" if definition.task == "regression" else "text"}
    dataset = Dataset(str(folder / "t.parquet"), "", len(made), tuple(Column(name, kinds.get(name, "text")) for name in made))  # type: ignore[arg-type]
    return read_table(dataset, definition)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return read(tmp_path, frame(), defined())


def trained(table: Table, candidate: Candidate, definition: Definition | None = None, threads: int = 1) -> Trained:
    definition = definition or defined()
    split = holdout_split(table, definition)
    return train_candidate(Work("one", candidate, table, split, folds(table, split, definition), definition, threads))


def test_a_table_is_read_as_features_target_and_identities(table: Table) -> None:
    assert list(table.frame) == ["a", "b", "c", "t"][:3]
    assert table.classes == ("no", "yes") and set(table.target) == {0, 1}
    assert list(table.frame["c"].cat.categories) == ["u", "v", "w"]
    assert table.frame["b"].isna().sum() == len(range(0, 400, 17))


@pytest.mark.parametrize(("values", "task", "told"), [
    (["yes"] * 400, "binary", "one class only"), ([None, "yes"] * 200, "binary", "missing in 200"),
    (["a", "b"] * 200, "binary", "`yes`"), (["yes", "no", "x", "no"] * 100, "binary", "3 classes"),
    ([1.0] * 400, "regression", "in every row"), ([1.0, np.inf] * 200, "regression", "infinite"), (["a", "b"] * 200, "regression", "no number")])
def test_targets_that_cannot_be_learnt_are_refused(values: list[Any], task: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match=told):
        read(tmp_path, frame().assign(y=values), defined(task))


def test_infinite_features_count_as_missing(tmp_path: Path) -> None:
    one = read(tmp_path, frame().assign(a=[np.inf, 1.0] * 200), defined())

    assert one.infinite == 200 and one.frame["a"].isna().sum() == 200


@given(st.integers(1, 400))
@settings(max_examples=15)
def test_a_row_stays_on_its_side_whatever_else_comes(rows: int) -> None:
    groups = np.random.default_rng(1).integers(0, 2**63, 500).astype(np.uint64)
    empty = pd.DataFrame(index=range(500))
    whole = Table(empty, np.arange(500.0), (), groups, groups, None, empty, 0)
    part = replace(whole, target=whole.target[rows:], rows=groups[rows:], groups=groups[rows:])
    definition = defined("regression", training={"holdout": 0.3})
    try:
        held = set(groups[rows:][holdout_split(part, definition).holdout])
    except DataUnusable:
        return  # too few rows for a split

    assert held <= set(groups[holdout_split(whole, definition).holdout])


def test_entities_are_on_one_side_and_in_one_fold(tmp_path: Path) -> None:
    made = frame()
    made[GROUP] = (np.arange(400) // 4).astype(np.uint64)
    one = read(tmp_path, made, defined())
    split = holdout_split(one, defined())

    assert not set(one.groups[split.train]) & set(one.groups[split.holdout])
    for fold in folds(one, split, defined()):
        assert not set(one.groups[fold.train]) & set(one.groups[fold.validate])


def test_with_a_time_nothing_learns_from_the_future(tmp_path: Path) -> None:
    definition = defined(time="t")
    one = read(tmp_path, frame(), definition)
    assert one.time is not None
    split = holdout_split(one, definition)

    assert one.time[split.train].max() < one.time[split.holdout].min()
    for fold in folds(one, split, definition):
        assert one.time[fold.train].max() < one.time[fold.validate].min()


@pytest.mark.parametrize("candidate", [LOGISTIC, FOREST, BOOSTING], ids=lambda each: each.estimator)
def test_the_same_data_and_seed_give_the_same_model(candidate: Candidate, table: Table, tmp_path: Path) -> None:
    first, second = trained(table, candidate, threads=1), trained(table, candidate, threads=2)
    joblib.dump(first.pipeline, tmp_path / "model")

    assert first.model_sha256 == second.model_sha256 == model_sha256(joblib.load(tmp_path / "model"))
    with threadpool_limits(1):
        assert np.array_equal(predict(first.pipeline, table.frame, "binary"), predict(second.pipeline, table.frame, "binary"))


def test_a_forest_says_the_same_to_the_last_digit_however_its_threads_take_turns(table: Table) -> None:
    found = [trained(table, LEAVES, threads=2) for _ in range(4)]

    assert len({each.out_of_fold.tobytes() for each in found}) == 1
    assert len({predict(found[0].pipeline, table.frame, "binary").tobytes() for _ in range(20)}) == 1


def test_another_seed_or_other_rows_give_another_model(table: Table, tmp_path: Path) -> None:
    other = read(tmp_path, frame(seed=1), defined())

    hashes = {trained(table, FOREST).model_sha256, trained(table, FOREST, defined(training={"seed": 1})).model_sha256,
              trained(other, FOREST).model_sha256}

    assert len(hashes) == 3


@pytest.mark.parametrize("candidate", [LOGISTIC, FOREST, BOOSTING], ids=lambda each: each.estimator)
def test_targets_of_the_holdout_change_nothing(candidate: Candidate, table: Table) -> None:
    split = holdout_split(table, defined())
    target = table.target.copy()
    target[split.holdout] = 1 - target[split.holdout]
    one, other = trained(table, candidate), trained(replace(table, target=target), candidate)

    assert (one.model_sha256, one.best, one.score) == (other.model_sha256, other.best, other.score)
    assert choose_threshold(one, table, defined()) == choose_threshold(other, table, defined())
    assert not set(one.validated) & set(split.holdout)


@pytest.mark.parametrize(("task", "candidates"), [("multiclass", (LOGISTIC, FOREST, BOOSTING)), ("regression", (RIDGE, FOREST, BOOSTING))])
def test_every_family_learns_every_task(task: str, candidates: tuple[Candidate, ...], tmp_path: Path) -> None:
    definition = defined(task, training={"metric": "r2" if task == "regression" else "accuracy"})
    one = read(tmp_path, frame(task=task), definition)
    baseline = trained(one, candidates_of(definition)[BASELINE], definition)

    for candidate in candidates:
        found = trained(one, candidate, definition)
        assert choose([baseline, found], definition) is found
        assert len(predict(found.pipeline, one.frame.assign(c=pd.Categorical(["new"] * 400)), definition.task)) == 400


def test_a_race_drops_settings_by_their_scores_and_keeps_the_best(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate(estimator="logistic", search={"C": [1e-9, 1e-8, 0.5, 1.0]})
    whole = trained(table, candidate)
    monkeypatch.setattr(tuning, "RACING_ROWS", 100)

    raced = trained(table, candidate)

    assert raced.best in ({"C": 0.5}, {"C": 1.0}) and whole.best in ({"C": 0.5}, {"C": 1.0})
    assert sorted(len(each.scores) for each in raced.settings) == [1, 1, 2, 3]
    assert [len(each.scores) for each in whole.settings] == [3, 3, 3, 3]


def test_a_threshold_follows_the_costs(table: Table) -> None:
    one = trained(table, LOGISTIC)
    cheap = choose_threshold(one, table, defined(threshold={"costs": {"false_positive": 1, "false_negative": 20}}))
    dear = choose_threshold(one, table, defined(threshold={"costs": {"false_positive": 20, "false_negative": 1}}))

    assert cheap < choose_threshold(one, table, defined()) < dear
    assert choose_threshold(one, table, defined(threshold={"value": 0.7})) == 0.7


def test_own_and_foreign_classes_are_candidates(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_model_of_a_test.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\nclass Stump(DecisionTreeClassifier):\n"
        "    def __init__(self, max_depth=1, random_state=None):\n        super().__init__(max_depth=max_depth, random_state=random_state)\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = trained(table, Candidate(estimator="own_model_of_a_test.Stump", search={"max_depth": [1, 2]}, preprocess="ordinal"))
    foreign = trained(table, Candidate(estimator="sklearn.neighbors.KNeighborsClassifier", search={"n_neighbors": [5, 25]}))

    assert own.score > 0.6 and foreign.score > 0.6
    assert own.model_sha256 != foreign.model_sha256


@pytest.mark.parametrize(("candidate", "told"), [
    (Candidate(estimator="sklearn.linear_model.Nothing"), "has no `Nothing`"), (Candidate(estimator="no.such.Thing"), "cannot be imported"),
    (Candidate(estimator="logistic", parameters={"C": -1.0}), "failed"), (Candidate(estimator="logistic", parameters={"D": 1.0}), "refuses"),
    (Candidate(estimator="linear"), "not for a binary model")])
def test_what_an_estimator_refuses_is_told(candidate: Candidate, told: str, table: Table) -> None:
    with pytest.raises(DefinitionError, match=told):
        trained(table, candidate)


def test_a_finished_candidate_is_kept(table: Table, tmp_path: Path) -> None:
    one = trained(table, LOGISTIC)
    store = Store(str(tmp_path))
    assert load(store, "one") is None

    save(one, store, "one")

    kept = load(store, "one")
    assert kept is not None and model_sha256(kept.pipeline) == one.model_sha256
    assert np.array_equal(kept.out_of_fold, one.out_of_fold)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["trained.joblib"]


def test_parameters_are_known_without_the_library_once_they_were_asked_for(tmp_path: Path) -> None:
    cache = tmp_path / "signatures.json"
    wrong = Candidate(estimator="boosting", parameters={"max_leaf_node": 3}, search={"learning_rate": [0.1]})

    assert unknown_parameters(wrong, "binary", cache) == [
        "`max_leaf_node` is no parameter of HistGradientBoostingClassifier; did you mean `max_leaf_nodes`?"]
    assert any(key.startswith("sklearn.ensemble.HistGradientBoostingClassifier ") for key in json.loads(cache.read_text()))
    assert unknown_parameters(Candidate(estimator="forest", parameters={"max_depth": 3}), "regression", cache) == []


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    one = read(tmp_path, frame(rows=12), defined())

    with pytest.raises(DataUnusable, match="rows fall into|No row of class"):
        holdout_split(one, defined())
