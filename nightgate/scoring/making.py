"""A release's form: the features of a definition and its fitted pipeline, from raw values to the prediction."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nightgate.datasets import ColumnType
from nightgate.definition.model import Definition
from nightgate.scoring.compiling import Column, NotCompiled, Ops, compiled
from nightgate.scoring.form import Form

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
    columns = {name: _input(made[name], categorical=kind == "category") for name, kind in inputs.items()}
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


def _input(feature: tuple[int, str], *, categorical: bool) -> Column:
    """Return a feature as a column of the pipeline; categories of numbers are looked up as numbers."""
    op, kind = feature
    if not categorical:
        return Column(op)
    keys: Mapping[str, Any] = {"text": str, "boolean": {"true": 1.0, "false": 0.0}.__getitem__}
    return Column(op, keys.get(kind, float))
