"""Candidates: the families of models that a night tries, as plain scikit-learn pipelines."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from nightgate.definition.model import Candidate, Definition, Scalar, Task
from nightgate.errors import DefinitionError
from nightgate.importing import imported, imported_estimator
from nightgate.tables import numeric_and_categorical
from nightgate.training.signatures import estimator_address

BASELINE = "baseline"
"""The trivial candidate: it never wins, and whoever does not beat it is not deployed."""

RARE = 10
"""Rows below which a category is encoded as infrequent: its own column would be noise."""

FOREST_SHARE = 0.1
FEWEST_TREE_ROWS = 5_000
MOST_TREE_ROWS = 20_000
"""A tree of a forest sees a tenth of the rows, within these bounds: more make it slower, and bagging averages it out."""

MANY_ROWS = 10_000
MOST_ROUNDS = 200
"""Beyond 10,000 rows scikit-learn's boosting stops by itself when it gains no more, and its 100 rounds are too few."""

_LINEAR = Candidate(estimator="linear", search={"alpha": [0.1, 1.0, 10.0, 100.0]})
_LOGISTIC = Candidate(estimator="logistic", parameters={"max_iter": 1_000}, search={"C": [0.01, 0.1, 1.0]})
_FOREST = Candidate(estimator="forest", parameters={"min_samples_leaf": 2})
_FOREST_OF_VALUES = Candidate(estimator="forest", parameters={"min_samples_leaf": 2, "max_features": 0.33})
"""A third of the features a split: Breiman's default for regression (2001), three times faster than scikit-learn's."""

_BOOSTING = Candidate(estimator="boosting", search={"learning_rate": [0.05, 0.1], "max_leaf_nodes": [15, 31]})


_WITHOUT = {"predict": "A regression needs a regressor.",
            "predict_proba": "Take a classifier that gives probabilities; a class of your own may wrap it in "
                             "sklearn.calibration.CalibratedClassifierCV."}


def candidates_of(definition: Definition) -> dict[str, Candidate]:
    """Return the definition's candidates, or the task's default ones; the trivial baseline is always the first."""
    first = "sklearn.dummy.DummyRegressor" if definition.task == "regression" else "sklearn.dummy.DummyClassifier"
    strategy = "mean" if definition.task == "regression" else "prior"
    baseline = Candidate(estimator=first, preprocess="none", parameters={"strategy": strategy})
    if definition.task == "regression":
        usual = {"linear": _LINEAR, "forest": _FOREST_OF_VALUES, "boosting": _BOOSTING}
    else:
        usual = {"logistic": _LOGISTIC, "forest": _FOREST, "boosting": _BOOSTING}
    return {BASELINE: baseline, **(definition.candidates or usual)}


def pipeline(name: str, candidate: Candidate, task: Task, settings: Mapping[str, Scalar], frame: pd.DataFrame, *,
             seed: int, threads: int) -> Pipeline:
    """Return an unfitted pipeline: columns as the estimator likes them, then the estimator with its settings.

    `frame`: the rows it will be fitted on; a feature that is missing in all of them is left out.
    """
    kind = imported_estimator(estimator_address(candidate, task), f"candidates.{name}.estimator")
    given: dict[str, Any] = {**candidate.parameters, **settings}
    try:
        known = kind().get_params()
        estimator: BaseEstimator = kind(**_defaults(candidate, known, given, seed=seed, threads=threads, rows=len(frame)))
    except TypeError as error:
        raise DefinitionError(f"candidates.{name}: {kind.__name__} refuses its parameters: {error}.",
                              remedy="`nightgate check` names those it takes.") from None
    if not hasattr(estimator, said := "predict" if task == "regression" else "predict_proba"):
        raise DefinitionError(f"candidates.{name}: {kind.__name__} has no `{said}`.", remedy=_WITHOUT[said])
    return Pipeline([("columns", _columns(name, candidate, kind.__name__, frame)), ("model", estimator)])


def _defaults(candidate: Candidate, known: Mapping[str, Any], given: Mapping[str, Any], *, seed: int, threads: int,
              rows: int) -> dict[str, Any]:
    """Return the parameters with what every estimator gets that takes it: the seed and the number of threads."""
    found = dict(given)
    if "random_state" in known:
        found.setdefault("random_state", seed)
    if "n_jobs" in known and candidate.estimator != "logistic":
        found.setdefault("n_jobs", threads)
    if candidate.estimator == "forest" and rows > FEWEST_TREE_ROWS:
        found.setdefault("max_samples", int(min(max(FOREST_SHARE * rows, FEWEST_TREE_ROWS), MOST_TREE_ROWS)))
    if candidate.estimator == "boosting" and rows > MANY_ROWS:
        found.setdefault("max_iter", MOST_ROUNDS)
    return found


def _columns(name: str, candidate: Candidate, kind: str, frame: pd.DataFrame) -> Any:
    how = candidate.preprocess or _suits(candidate, kind)
    if how == "none":
        return "passthrough"
    if ":" in how:
        own = imported(how, f"candidates.{name}.preprocess")
        return own() if isinstance(own, type) or callable(own) else own
    numeric, categorical = numeric_and_categorical(frame.loc[:, frame.notna().any().to_numpy()])
    if how == "ordinal":
        encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
        return ColumnTransformer([("numeric", "passthrough", numeric), ("categorical", encode, categorical)])
    scale = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE)
    return ColumnTransformer([("numeric", scale, numeric), ("categorical", encode, categorical)], sparse_threshold=1.0)


def _suits(candidate: Candidate, kind: str) -> str:
    """Return the encoding that a family likes: trees split ordinal codes, everything else needs columns of its own."""
    trees = ("Forest", "Boosting", "Tree", "LGBM", "XGB", "CatBoost")
    return "ordinal" if candidate.estimator in ("forest", "boosting") or any(word in kind for word in trees) else "onehot"
