"""Transformers of scikit-learn as ops of a form. What has no exact form is refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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


def chained(steps: Iterable[Any], columns: Sequence[Column], names: Sequence[str], ops: Ops) -> list[Column]:
    """Return the columns that fitted transformers make one after the other."""
    for step in steps:
        columns = transformed(step, columns, names, ops)
        names = [str(place) for place in range(len(columns))]
    return list(columns)


def transformed(step: Any, columns: Sequence[Column], names: Sequence[str], ops: Ops) -> list[Column]:
    """Return the columns that a fitted transformer makes."""
    kind = type(step).__name__ if not isinstance(step, str) else step
    if kind == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        return list(columns)
    if kind == "drop":
        return []
    if kind == "Pipeline":
        return chained((each for _, each in step.steps), columns, names, ops)
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


def ordinal(step: Any, columns: Sequence[Column], ops: Ops) -> list[Column]:
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
    "SimpleImputer": _imputed, "MissingIndicator": _indicated, "OrdinalEncoder": ordinal, "OneHotEncoder": _onehot,
    "TargetEncoder": _target, "StandardScaler": _shifted(("-", "mean_"), ("/", "scale_")),
    "MinMaxScaler": _shifted(("*", "scale_"), ("+", "min_")), "MaxAbsScaler": _shifted(("/", "scale_")),
    "RobustScaler": _shifted(("-", "center_"), ("/", "scale_")),
}
