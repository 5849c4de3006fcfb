"""The compiler: a definition and its fitted pipeline become a form without code. What has no exact form is refused.

Every number is scikit-learn's own; the parity check of a release compares the two on the whole hold-out all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightgate.scoring.trees import Grown, boosted, forest, histogram

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class NotCompiled(Exception):
    """What a pipeline holds that has no compiled form; its text says why a release falls back."""


@dataclass(frozen=True)
class Column:
    """A column of a pipeline: the op that makes it; `key` reads the name of a category as the op's value, None for numbers."""

    op: int
    key: Callable[[str], Any] | None = None


class Ops:
    """Columns as they are made; the same one is made once."""

    def __init__(self) -> None:
        self.made: list[list[Any]] = []
        self.known: dict[str, int] = {}

    def add(self, *op: Any) -> int:
        written = repr(op)
        if written not in self.known:
            self.known[written] = len(self.made)
            self.made.append(list(op))
        return self.known[written]


def compiled(pipeline: "Pipeline", columns: Mapping[str, Column], ops: Ops, *, classes: int
             ) -> tuple[dict[str, Any], dict[str, "np.ndarray[Any, Any]"]]:
    """Return the model of a fitted pipeline over named columns, and its arrays. `classes` is 0 for a regression.

    The model gives the probability of the second of two classes, of each of several, or a value. Raises NotCompiled.
    """
    steps = [step for _, step in pipeline.steps]
    made: Sequence[Column] = [*columns.values()]
    names: list[str] = [*columns]
    for step in steps[:-1]:
        made = transformed(step, made, names, ops)
        names = [str(place) for place in range(len(made))]
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if any(column.key is not None for column in made) and "HistGradient" not in type(steps[-1]).__name__:
        raise NotCompiled("a column of texts goes into the estimator")
    return Models(ops, arrays).predicting(steps[-1], list(made), classes=classes), arrays


def transformed(step: Any, columns: Sequence[Column], names: Sequence[str], ops: Ops) -> list[Column]:
    """Return the columns that a fitted transformer makes."""
    kind = type(step).__name__ if not isinstance(step, str) else step
    if kind == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        return list(columns)
    if kind == "drop":
        return []
    if kind == "Pipeline":
        for _, each in step.steps:
            columns = transformed(each, columns, names, ops)
            names = [str(place) for place in range(len(columns))]
        return list(columns)
    if kind == "ColumnTransformer":
        return _by_column(step, columns, names, ops)
    make = TRANSFORMERS.get(kind)
    if make is None or not type(step).__module__.startswith("sklearn."):
        raise NotCompiled(f"the transformer {kind}")
    return make(step, columns, ops)


def _by_column(step: Any, columns: Sequence[Column], names: Sequence[str], ops: Ops) -> list[Column]:
    if step.transformer_weights:
        raise NotCompiled("transformer_weights")
    made: list[Column] = []
    for name, each, chosen in step.transformers_:
        places = _places(chosen, names)
        if each == "drop" or not places:
            continue
        inner = [names[place] for place in places]
        found = transformed(each, [columns[place] for place in places], inner, ops)
        span = step.output_indices_[name]
        if span.stop - span.start != len(found) or span.start != len(made):
            raise NotCompiled(f"the columns that `{name}` makes")
        made += found
    return made


def _places(chosen: Any, names: Sequence[str]) -> list[int]:
    if isinstance(chosen, slice):
        return list(range(len(names)))[chosen]
    values = list(np.atleast_1d(np.asarray(chosen, dtype=object)))
    if values and all(isinstance(each, bool | np.bool_) for each in values):
        return [place for place, taken in enumerate(values) if taken]
    return [names.index(each) if isinstance(each, str) else int(each) for each in values]


def _numbers(columns: Sequence[Column], what: str) -> None:
    if any(column.key is not None for column in columns):
        raise NotCompiled(f"{what} of texts")


def _imputed(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
    _numbers(columns, "imputing")
    if not (isinstance(step.missing_values, float) and np.isnan(step.missing_values)):
        raise NotCompiled("imputing what is not NaN")
    values = np.asarray(step.statistics_, dtype=np.float64)
    kept = [place for place, value in enumerate(values) if not np.isnan(value) or step.keep_empty_features]
    filled = [Column(ops.add("fill", columns[place].op, float(np.nan_to_num(values[place])))) for place in kept]
    return filled + (_indicated(step.indicator_, columns, ops) if step.add_indicator else [])


def _indicated(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
    _numbers(columns, "missing indicators")
    return [Column(ops.add("missing", columns[int(place)].op)) for place in step.features_]


def _shifted(*parts: tuple[str, str]) -> Callable[[Any, Sequence[Column], Ops], list[Column]]:
    """Make a transformer of arithmetic: signs with the attributes that hold a constant for each column."""
    def make(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
        _numbers(columns, "scaling")
        if getattr(step, "clip", False):
            raise NotCompiled("clipping")
        made = [column.op for column in columns]
        for sign, name in parts:
            constants = getattr(step, name, None)
            if constants is not None:
                made = [ops.add(sign, op, float(constant)) for op, constant in zip(made, constants, strict=True)]
        return [Column(op) for op in made]
    return make


def _keys(column: Column, categories: Any) -> tuple[list[Any], list[int], int | None]:
    """Return the values that stand for categories, their places, and the place of the missing one."""
    keys, places, missing = [], [], None
    for place, category in enumerate(categories):
        if category is None or (isinstance(category, float) and np.isnan(category)):
            missing = place
            continue
        try:
            keys.append(float(category) if column.key is None else column.key(category))
        except (ValueError, TypeError):
            raise NotCompiled(f"a category {str(category)[:40]!r} of numbers") from None
        places.append(place)
    if len(set(keys)) < len(keys):
        raise NotCompiled("two categories of one value")
    return keys, places, missing


def _mapping(step: Any, place: int) -> tuple[list[int], int | None]:
    """Return the code of each category after rare ones are put together, and the code of the rare ones."""
    count = len(step.categories_[place])
    if not getattr(step, "_infrequent_enabled", False) or step._infrequent_indices[place] is None:
        return list(range(count)), None
    mapping = [int(code) for code in step._default_to_infrequent_mappings[place]]
    return mapping, mapping[int(step._infrequent_indices[place][0])]


def _ordinal(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
    made = []
    for place, column in enumerate(columns):
        keys, places, missing = _keys(column, step.categories_[place])
        mapping, rare = _mapping(step, place)
        if step.handle_unknown != "use_encoded_value":
            raise NotCompiled("an ordinal encoder that refuses unknown categories")
        unknown = float(step.unknown_value)
        values = [float(mapping[each]) for each in places]
        gone = unknown if missing is None else float(step.encoded_missing_value) if place in step._missing_indices \
            else float(mapping[missing])
        if rare is not None and missing is not None:
            raise NotCompiled("rare categories in an ordinal encoder with missing values")
        made.append(Column(ops.add("table", column.op, keys, values, unknown, gone)))
    return made


def _onehot(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
    made = []
    for place, column in enumerate(columns):
        keys, places, missing = _keys(column, step.categories_[place])
        mapping, rare = _mapping(step, place)
        if step.handle_unknown == "error":
            raise NotCompiled("a one-hot encoder that refuses unknown categories")
        unknown = float(rare) if rare is not None and step.handle_unknown != "ignore" else -1.0
        gone = unknown if missing is None else float(mapping[missing])
        code = ops.add("table", column.op, keys, [float(mapping[each]) for each in places], unknown, gone)
        dropped = None if step._drop_idx_after_grouping is None else step._drop_idx_after_grouping[place]
        made += [Column(ops.add("is", code, float(each))) for each in range(max(mapping, default=-1) + 1) if each != dropped]
    return made


def _target(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
    made = []
    several = len(step.classes_) if step.target_type_ == "multiclass" else 1
    means = np.atleast_1d(step.target_mean_)
    for place, column in enumerate(columns):
        keys, places, missing = _keys(column, step.categories_[place])
        for each in range(several):
            encoding, mean = step.encodings_[place * several + each], float(means[each])
            made.append(Column(ops.add("table", column.op, keys, [float(encoding[code]) for code in places], mean,
                                       mean if missing is None else float(encoding[missing]))))
    return made


TRANSFORMERS: Mapping[str, Callable[[Any, Sequence[Column], Ops], list[Column]]] = {
    "SimpleImputer": _imputed, "MissingIndicator": _indicated, "OrdinalEncoder": _ordinal, "OneHotEncoder": _onehot,
    "TargetEncoder": _target, "StandardScaler": _shifted(("-", "mean_"), ("/", "scale_")),
    "MinMaxScaler": _shifted(("*", "scale_"), ("+", "min_")), "MaxAbsScaler": _shifted(("/", "scale_")),
    "RobustScaler": _shifted(("-", "center_"), ("/", "scale_")),
}


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
            made = columns
            for _, step in estimator.steps[:-1]:
                made = transformed(step, made, [str(place) for place in range(len(made))], self.ops)
            return self.predicting(estimator.steps[-1][1], made, classes=classes)
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

    def _value(self, estimator: Any, kind: str, columns: list[Column], raw: dict[str, Any] | None) -> dict[str, Any]:
        if raw is None:  # trees whose leaves hold the answer itself
            return self._trees(forest(_trees_of(estimator), pick=_second(estimator)), columns)
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
            weights = np.atleast_2d(estimator.coef_)
            return self._linear(weights, np.broadcast_to(estimator.intercept_, len(weights)), columns)
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
        by_kind = {False: [column for column, flag in zip(columns, estimator.is_categorical_, strict=True) if not flag],
                   True: [column for column, flag in zip(columns, estimator.is_categorical_, strict=True) if flag]}
        encoder = estimator._preprocessor.named_transformers_["encoder"]
        return _ordinal(encoder, by_kind[True], self.ops) + by_kind[False]

    def _linear(self, weights: "np.ndarray[Any, Any]", intercept: "np.ndarray[Any, Any]", columns: list[Column]) -> dict[str, Any]:
        return {"kind": "linear", "columns": [column.op for column in columns], "weights": np.asarray(weights, float).tolist(),
                "intercept": np.asarray(intercept, float).tolist()}

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
            last, made = inner, columns
            while type(last).__name__ == "Pipeline":
                for _, step in last.steps[:-1]:
                    made = transformed(step, made, [str(place) for place in range(len(made))], self.ops)
                last = last.steps[-1][1]
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


def _trees_of(estimator: Any) -> list[Any]:
    return [each.tree_ for each in getattr(estimator, "estimators_", [estimator])]


def _second(estimator: Any) -> bool:
    return hasattr(estimator, "classes_") and len(estimator.classes_) == 2


def _calibrator(calibrator: Any) -> dict[str, Any]:
    if hasattr(calibrator, "a_"):
        return {"a": float(calibrator.a_), "b": float(calibrator.b_)}
    if calibrator.out_of_bounds != "clip":
        raise NotCompiled("isotonic calibration that does not clip")
    return {"x": [float(value) for value in calibrator.X_thresholds_], "y": [float(value) for value in calibrator.y_thresholds_]}
