"""The compiler: a definition and its fitted pipeline become a form without code. What has no exact form is refused.

Every number is scikit-learn's own; the parity check of a release compares the two on the whole hold-out all the same.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.scoring.form import Form
from nightgate.scoring.transforming import Column, NotCompiled, Ops, chained, ordinal
from nightgate.scoring.trees import Grown, boosted, forest, histogram

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def form_of(definition: Definition, pipeline: "Pipeline", *, version: int, raw: Mapping[str, ColumnType],
            inputs: Mapping[str, str], classes: list[str], threshold: float | None) -> Form:
    """Return the form of a fitted pipeline. Raises NotCompiled, which says what has none.

    `raw`: the columns that a row brings; `inputs`: the features that the pipeline takes, with their types in its frame.
    """
    if definition.features.own is not None:
        raise NotCompiled(f"features by own code, {definition.features.own}")
    ops = Ops()
    made = _features(definition, raw, ops)
    if absent := [name for name in inputs if name not in made]:
        raise NotCompiled(f"the feature {absent[0]}")
    columns = {name: _input(*made[name], categorical=kind == "category") for name, kind in inputs.items()}
    root, arrays = compiled(pipeline, columns, ops, classes=len(classes))
    source = definition.source
    return Form(definition.name, version, definition.task, list(classes), threshold, dict(raw),
                [name for name in definition.privacy.mask if name in raw], ["", *source.missing], source.decimal,
                definition.schedule.timezone, ops.made, root, arrays)


def _features(definition: Definition, raw: Mapping[str, ColumnType], ops: Ops) -> dict[str, tuple[int, str]]:
    """Return each feature's op and the type it comes of, as `features.engineer_frame` makes them."""
    made: dict[str, tuple[int, str]] = {}
    places = {name: ops.add("raw", place) for place, name in enumerate(raw)}
    for name, kind in raw.items():
        op = places[name]
        if name == definition.time:
            made |= {f"{name}_{part}": (ops.add("part", op, part), "number") for part in ("hour", "weekday", "month")}
        elif name in definition.not_features:
            continue
        elif kind == "date":
            made |= {f"{name}_{part}": (ops.add("part", op, part), "number") for part in ("year", "month", "weekday", "hour")}
            if definition.time in places:
                made[f"{name}_days"] = ops.add("days", places[str(definition.time)], op), "number"
        elif name in definition.columns.text:
            made |= {f"{name}_{what}": (ops.add(what, op), "number") for what in ("length", "words", "digits")}
        else:
            made[name] = op, kind
    return made


def _input(op: int, kind: str, *, categorical: bool) -> Column:
    """Return a feature as a column of the pipeline; categories of numbers are looked up as numbers."""
    if not categorical:
        return Column(op)
    keys: Mapping[str, Any] = {"text": str, "boolean": {"true": 1.0, "false": 0.0}.__getitem__}
    return Column(op, keys.get(kind, float))


def compiled(pipeline: "Pipeline", columns: Mapping[str, Column], ops: Ops, *, classes: int
             ) -> tuple[dict[str, Any], dict[str, "np.ndarray[Any, Any]"]]:
    """Return the model of a fitted pipeline over named columns, and its arrays. `classes` is 0 for a regression.

    The model gives the probability of the second of two classes, of each of several, or a value. Raises NotCompiled.
    """
    *steps, estimator = (step for _, step in pipeline.steps)
    made = chained(steps, [*columns.values()], [*columns], ops)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if any(column.key is not None for column in made) and "HistGradient" not in type(estimator).__name__:
        raise NotCompiled("a column of texts goes into the estimator")
    return Models(ops, arrays).predicting(estimator, made, classes=classes), arrays


class Models:
    """Estimators as parts of a model; arrays of trees are put into `arrays`."""

    def __init__(self, ops: Ops, arrays: "dict[str, np.ndarray[Any, Any]]") -> None:
        self.ops, self.arrays = ops, arrays

    def predicting(self, estimator: Any, columns: list[Column], *, classes: int) -> dict[str, Any]:
        """Return the part that gives probabilities, or values where there are no classes."""
        kind = type(estimator).__name__
        if not type(estimator).__module__.startswith("sklearn."):
            raise NotCompiled(f"the estimator {kind}")
        if kind == "Pipeline":
            return self.predicting(*self._unpacked(estimator, columns), classes=classes)
        if kind == "CalibratedClassifierCV":
            return self._calibrated(estimator, columns, classes)
        if kind.startswith("Dummy"):
            return self._dummy(estimator, classes)
        raw = self.raw(estimator, columns, classes=classes)
        if raw is None or not classes:
            return self._value(estimator, kind, columns, raw)
        if kind == "LogisticRegression" or "Boosting" in kind:
            return {"kind": "link", "link": "expit" if classes == 2 else "softmax", "of": raw}
        raise NotCompiled(f"probabilities of {kind}")

    def _unpacked(self, estimator: Any, columns: list[Column]) -> tuple[Any, list[Column]]:
        """Return the estimator at the end of pipelines, and the columns that it gets."""
        while type(estimator).__name__ == "Pipeline":
            *steps, estimator = (step for _, step in estimator.steps)
            columns = chained(steps, columns, [str(place) for place in range(len(columns))], self.ops)
        return estimator, columns

    def _value(self, estimator: Any, kind: str, columns: list[Column], raw: dict[str, Any] | None) -> dict[str, Any]:
        if raw is None:  # trees whose leaves hold the answer itself
            return self._trees(forest(estimator), columns)
        loss = type(getattr(estimator, "_loss", None)).__name__
        if kind.startswith("HistGradient") and loss not in ("HalfSquaredError", "AbsoluteError", "PinballLoss"):
            raise NotCompiled(f"boosting with {loss}")
        return raw

    def raw(self, estimator: Any, columns: list[Column], *, classes: int) -> dict[str, Any] | None:
        """Return the part that gives what is linked afterwards, None for trees that give probabilities themselves."""
        kind = type(estimator).__name__
        if hasattr(estimator, "coef_"):
            if kind not in LINEAR:
                raise NotCompiled(f"the estimator {kind}")
            weights = np.atleast_2d(estimator.coef_).astype(float)
            return {"kind": "linear", "columns": [column.op for column in columns], "weights": weights.tolist(),
                    "intercept": np.broadcast_to(estimator.intercept_, len(weights)).astype(float).tolist()}
        if kind in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
            if estimator._preprocessor is not None:
                columns = self._native(estimator, columns)
            elif any(column.key is not None for column in columns):
                raise NotCompiled("texts in boosting")
            return self._trees(histogram(estimator), columns)
        if kind in ("GradientBoostingClassifier", "GradientBoostingRegressor"):
            return self._trees(boosted(estimator), columns)
        if kind in TREES:
            return None
        raise NotCompiled(f"the estimator {kind}")

    def _native(self, estimator: Any, columns: list[Column]) -> list[Column]:
        """Return the columns as boosting itself encodes them: categories first."""
        categories, numbers = ([column for column, flag in zip(columns, estimator.is_categorical_, strict=True) if flag == wanted]
                               for wanted in (True, False))
        return ordinal(estimator._preprocessor.named_transformers_["encoder"], categories, self.ops) + numbers

    def _trees(self, grown: Grown, columns: list[Column]) -> dict[str, Any]:
        name = f"trees{len(self.arrays)}"
        for part, array in grown.arrays.items():
            self.arrays[f"{name}_{part}"] = array
        return {"kind": "trees", "columns": [column.op for column in columns], "arrays": name, "base": grown.base,
                "divide": grown.divide, "sets": grown.sets}

    def _calibrated(self, estimator: Any, columns: list[Column], classes: int) -> dict[str, Any]:
        parts = []
        for each in estimator.calibrated_classifiers_:
            inner = each.estimator
            known = list(getattr(inner, "classes_", ()))
            if each.method not in ("sigmoid", "isotonic") or len(known) != classes:
                raise NotCompiled(f"calibration by {each.method}, or of folds without all classes")
            last, made = self._unpacked(inner, columns)
            raw = self.raw(last, made, classes=classes) if hasattr(last, "decision_function") else None
            parts.append({"of": raw or self.predicting(last, made, classes=classes),
                          "calibrators": [_calibrator(calibrator) for calibrator in each.calibrators]})
        return {"kind": "calibrated", "parts": parts}

    def _dummy(self, estimator: Any, classes: int) -> dict[str, Any]:
        if not classes:
            return {"kind": "constant", "values": [float(np.ravel(estimator.constant_)[0])]}
        if estimator.strategy != "prior":
            raise NotCompiled(f"a dummy of strategy {estimator.strategy}")
        shares = [float(share) for share in estimator.class_prior_]
        return {"kind": "constant", "values": shares[1:] if classes == 2 else shares}


LINEAR = frozenset({"LogisticRegression", "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
                    "BayesianRidge", "HuberRegressor", "LinearSVC", "SGDRegressor", "RidgeClassifier"})
TREES = frozenset({"DecisionTreeClassifier", "DecisionTreeRegressor", "RandomForestClassifier", "RandomForestRegressor",
                   "ExtraTreesClassifier", "ExtraTreesRegressor"})


def _calibrator(calibrator: Any) -> dict[str, Any]:
    if hasattr(calibrator, "a_"):
        return {"a": float(calibrator.a_), "b": float(calibrator.b_)}
    if calibrator.out_of_bounds != "clip":
        raise NotCompiled("isotonic calibration that does not clip")
    return {"x": [float(value) for value in calibrator.X_thresholds_], "y": [float(value) for value in calibrator.y_thresholds_]}
