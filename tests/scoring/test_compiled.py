"""Compiled scorers: whatever pipeline is drawn says the same compiled, to the last bit for trees, on one row and on many."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from nightgate.prediction import said
from nightgate.scoring import forests
from nightgate.scoring.blocks import BlockScorer, Texts
from nightgate.scoring.compiling import compiled
from nightgate.scoring.forests import prepared
from nightgate.scoring.form import Form, read, written
from nightgate.scoring.releasing import TOLERANCE
from nightgate.scoring.rows import row_scorer
from nightgate.scoring.scorer import fastest
from nightgate.scoring.transforming import Column, NotCompiled, Ops
from nightgate.scoring.trees import widened

NUMBERS, WORDS = ["a", "b", "c"], ["u", "v"]
CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}


def data(rows: int, seed: int, *, missing: float) -> pd.DataFrame:
    """Return rows of numbers and words with gaps, ties and rare words."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=rows), "b": random.integers(0, 5, rows).astype(float), "c": random.exponential(1e3, rows),
                          **{name: random.choice([*"pqrst", "rare"], rows, p=[0.3, 0.3, 0.2, 0.1, 0.09, 0.01]) for name in WORDS}})
    for name in frame.columns:
        frame[name] = frame[name].where(random.random(rows) >= missing, None if name in WORDS else np.nan)
    return frame.assign(**{name: pd.Categorical(frame[name]) for name in WORDS})


def target(frame: pd.DataFrame, task: str, seed: int) -> Any:
    signal = frame["a"].fillna(0).to_numpy() + (frame["u"] == "p").to_numpy() + np.random.default_rng(seed).normal(size=len(frame))
    return {"binary": (signal > 0.3).astype(int), "multiclass": np.digitize(signal, [-0.3, 0.8]), "regression": signal}[task]


def encoders(kind: str) -> Any:
    if kind == "onehot":
        numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
        return ColumnTransformer([("n", numbers, NUMBERS), ("w", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10), WORDS)])
    if kind == "dropped":
        return ColumnTransformer([("n", make_pipeline(RobustScaler(), SimpleImputer()), NUMBERS),
                                  ("w", OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False), WORDS)])
    if kind == "target":
        return ColumnTransformer([("n", make_pipeline(SimpleImputer(strategy="constant", fill_value=-1.0), MinMaxScaler()), NUMBERS), ("w", TargetEncoder(random_state=0), WORDS)])
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    numbers = "passthrough" if kind == "ordinal" else SimpleImputer()
    return ColumnTransformer([("w", ordinal, WORDS), ("n", numbers, NUMBERS)])


ESTIMATORS: dict[str, list[Any]] = {
    "binary": [LogisticRegression(), HistGradientBoostingClassifier(max_iter=60), RandomForestClassifier(7, max_depth=6), DecisionTreeClassifier(),
               GradientBoostingClassifier(n_estimators=8), ExtraTreesClassifier(60, max_depth=4), CalibratedClassifierCV(LogisticRegression(), cv=2),
               CalibratedClassifierCV(RandomForestClassifier(3, max_depth=4), cv=2, method="isotonic")],
    "multiclass": [LogisticRegression(), HistGradientBoostingClassifier(max_iter=8), RandomForestClassifier(60, max_depth=4), DecisionTreeClassifier(),
                   GradientBoostingClassifier(n_estimators=20), CalibratedClassifierCV(LogisticRegression(), cv=2, method="isotonic")],
    "regression": [Ridge(), LinearRegression(), ElasticNet(0.01), HistGradientBoostingRegressor(max_iter=20), RandomForestRegressor(5),
                   GradientBoostingRegressor(n_estimators=60), DecisionTreeRegressor(max_depth=5)]}
EXACT = ("Tree", "Forest", "Boosting")


def form_of(pipeline: Pipeline, frame: pd.DataFrame, task: str) -> Form:
    """Return a form that went through its files."""
    ops = Ops()
    columns = {str(name): Column(ops.add("raw", place), str if name in WORDS else None) for place, name in enumerate(frame.columns)}
    root, arrays = compiled(pipeline, columns, ops, classes=CLASSES[task])
    raw = {str(name): "text" if name in WORDS else "number" for name in frame.columns}
    return read(written(Form("m", 1, task, [], None, raw, [], [], ".", "UTC", ops.made, root, arrays)))


def alone(form: Form, frame: pd.DataFrame) -> Any:
    row = row_scorer(form)
    return np.array([row(*(None if value is None or value != value else value for value in values)) for values in frame.astype(object).itertuples(index=False)])


def together(scorer: BlockScorer, frame: pd.DataFrame) -> Any:
    columns = [Texts([None if value != value else value for value in frame[name].astype(object)]) if name in WORDS else frame[name].to_numpy(float)
               for name in frame.columns]
    return scorer(columns, len(frame))


def edges(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows at the edge: extremes, values never seen, the wrong case."""
    rows = [{**frame.iloc[0].to_dict(), name: value} for name in NUMBERS for value in (0.0, -0.0, 1e30, -1e30, 3e37, 1e-300, 2.0**53)]
    rows += [{**frame.iloc[1].to_dict(), name: value} for name in WORDS for value in ("P", "never", "", "rare")]
    made = pd.DataFrame(rows, columns=frame.columns)
    return made.assign(**{name: pd.Categorical(made[name]) for name in WORDS})


@settings(max_examples=60)
@given(st.data())
def test_compiled_and_fitted_say_the_same(drawn: st.DataObject) -> None:
    task = drawn.draw(st.sampled_from([*CLASSES]))
    estimator = drawn.draw(st.sampled_from(ESTIMATORS[task]))
    kind = drawn.draw(st.sampled_from(["onehot", "dropped", "target", "ordinal", "imputed"]))
    missing = drawn.draw(st.sampled_from([0.0, 0.1, 0.5]))
    seed = drawn.draw(st.integers(0, 1_000))
    if kind == "ordinal" and type(estimator).__name__ not in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "RandomForestClassifier"):
        kind = "imputed"
    frame = data(200, seed, missing=missing)
    pipeline = Pipeline([("columns", encoders(kind)), ("model", estimator)]).fit(frame, target(frame, task, seed))

    check(pipeline, frame, task, exact=any(word in type(estimator).__name__ for word in EXACT))


def check(pipeline: Pipeline, frame: pd.DataFrame, task: Any, *, exact: bool) -> None:
    form = form_of(pipeline, frame, task)
    for part in (frame, edges(frame)):
        expected = said(pipeline, part, task)
        for found in (alone(form, part), together(BlockScorer(form), part), together(fastest(form), part)):
            if exact:
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_array_less(np.abs(found - expected) / np.maximum(np.abs(expected), 1), TOLERANCE * 1.0001)


@pytest.mark.parametrize("task", [*CLASSES])
def test_native_categories_are_compiled(task: Any) -> None:
    frame = data(2_000, 1, missing=0.1)
    estimator = HistGradientBoostingRegressor(max_iter=60) if task == "regression" else HistGradientBoostingClassifier(max_iter=60)
    pipeline = Pipeline([("columns", "passthrough"), ("model", estimator)]).fit(frame, target(frame, task, 1))
    form = form_of(pipeline, frame, task)

    for found in (alone(form, frame), together(BlockScorer(form), frame), together(fastest(form), frame)):
        np.testing.assert_array_equal(found, said(pipeline, frame, task))


@pytest.mark.parametrize(("leaves", "categories"), [(31, False), (60, True), (200, False), (200, True)])
def test_machine_code_says_what_arrays_say(leaves: int, categories: bool) -> None:
    """Of trees of every size, on many rows, on values at thresholds and beside them, and where nothing is known."""
    pytest.importorskip("numba")
    frame = data(3_000, 4, missing=0.1)
    pipeline = Pipeline([("columns", "passthrough" if categories else encoders("ordinal")), ("model", HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=leaves, min_samples_leaf=3))]).fit(frame, target(frame, "multiclass", 4))
    form = form_of(pipeline, frame, "multiclass")
    bounds = form.arrays[f"{form.root['of']['arrays']}_threshold"]
    beside = np.concatenate([bounds, np.nextafter(bounds, np.inf), np.nextafter(bounds, -np.inf), [np.nan]])
    many = frame.sample(len(beside), replace=True, random_state=0).assign(a=beside, c=beside[::-1])

    np.testing.assert_array_equal(together(fastest(form), many), together(BlockScorer(form), many))
    assert fastest(form).prepare is not prepared


def test_trees_without_a_split_are_answered() -> None:
    frame = data(200, 5, missing=0.1)
    pipeline = Pipeline([("columns", encoders("ordinal")), ("model", HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=150))])

    check(pipeline.fit(frame, target(frame, "binary", 5)), frame, "binary", exact=True)


def test_large_trees_are_walked_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forests, "MOST_NODES", 100)
    frame = data(2_000, 2, missing=0.1)
    for task, estimator in (("multiclass", RandomForestClassifier(4)), ("regression", RandomForestRegressor(4)),
                            ("binary", HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=100, min_samples_leaf=2))):
        kind = "passthrough" if "Hist" in type(estimator).__name__ else encoders("ordinal")
        pipeline = Pipeline([("columns", kind), ("model", estimator)]).fit(frame, target(frame, task, 2))

        check(pipeline, frame, task, exact=True)


@given(st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=50), st.floats(-3e38, 3e38))
def test_numbers_go_left_where_their_roundings_do(values: Sequence[float], threshold: float) -> None:
    near = np.array([*values, threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf), float(np.float32(threshold))])
    bound = widened(np.array([threshold]))[0]

    np.testing.assert_array_equal(near <= bound, near.astype(np.float32) <= np.full(len(near), threshold))


@pytest.mark.parametrize(("pipeline", "told"), [
    (Pipeline([("columns", encoders("imputed")), ("model", GaussianNB())]), "GaussianNB"),
    (Pipeline([("columns", ColumnTransformer([("n", make_pipeline(SimpleImputer(), PolynomialFeatures()), NUMBERS)])), ("model", LogisticRegression())]), "PolynomialFeatures"),
    (Pipeline([("columns", ColumnTransformer([("w", OneHotEncoder(), WORDS)])), ("model", LogisticRegression())]), "refuses unknown"),
    (Pipeline([("columns", encoders("imputed")), ("model", GradientBoostingClassifier(init=LogisticRegression(), n_estimators=2))]), "another estimator")])
def test_what_has_no_compiled_form_is_named(pipeline: Pipeline, told: str) -> None:
    frame = data(200, 0, missing=0.0)

    with pytest.raises(NotCompiled, match=told):
        form_of(pipeline.fit(frame, target(frame, "binary", 0)), frame, "binary")


def test_a_scorer_is_plain_data() -> None:
    frame = data(200, 0, missing=0.1)
    pipeline = Pipeline([("columns", encoders("ordinal")), ("model", HistGradientBoostingClassifier(max_iter=3))]).fit(frame, target(frame, "binary", 0))
    files = written(form_of(pipeline, frame, "binary"))

    assert json.loads(files["scorer.json"])["layout"] == 1
    assert all(array.dtype.kind in "fib" for array in np.load(io.BytesIO(files["scorer.npz"]), allow_pickle=False).values())
