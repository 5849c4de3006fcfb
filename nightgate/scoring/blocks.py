"""Many rows: the same form over numpy arrays, equal to the last bit where one row is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.scoring.forests import Floats, Quick, Walked, prepared
from nightgate.scoring.form import TEXTS, Form

BLOCK = 1_000
"""Rows at once: what they need stays in the processor's cache."""


@dataclass(frozen=True)
class Texts:
    """A column of texts: different values (None where missing), and for each row the place of its value; None: as they are."""

    values: Sequence[str | None]
    codes: NDArray[np.int64] | None = None

    def mapped(self, value_of: Callable[[str | None], float]) -> Floats:
        found = np.array([value_of(value) for value in self.values], dtype=np.float64)
        return found if self.codes is None else found[self.codes]

    def part(self, rows: slice) -> "Texts":
        return Texts(self.values[rows]) if self.codes is None else Texts(self.values, self.codes[rows])


Column = Any
"""float64 with NaN, `Texts`, or datetime64[us] with NaT."""


class BlockScorer:
    """A form, ready for many rows, `block` of them at once. `prepare` makes its trees ready."""

    def __init__(self, form: Form, prepare: Callable[..., Quick | Walked] = prepared, block: int = BLOCK) -> None:
        self.form, self.prepare, self.block = form, prepare, block
        self.trees: dict[str, Quick | Walked] = {}

    def __call__(self, columns: Sequence[Column], rows: int) -> Floats:
        """Return (n,) answers, or (n, classes), of columns in the order of `form.raw`."""
        pieces = [self._block([_cut(column, slice(start, start + self.block)) for column in columns], min(self.block, rows - start))
                  for start in range(0, rows, self.block)]
        return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]

    def _block(self, columns: Sequence[Column], rows: int) -> Floats:
        made = _Made(self.form.ops, columns, rows)
        outputs = self._answers(self.form.root, made)
        return outputs[0] if len(outputs) == 1 else np.column_stack(outputs)

    def _answers(self, part: Mapping[str, Any], made: "_Made") -> list[Floats]:
        kind = part["kind"]
        if kind == "linear":
            return self._linear(part, made)
        if kind == "trees":
            return self._trees(part, made)
        if kind == "constant":
            return [np.full(made.rows, value) for value in part["values"]]
        if kind == "calibrated":
            parts = [self._calibrated(each, made) for each in part["parts"]]
            return [sum(each[1:], start=each[0]) / len(parts) for each in zip(*parts, strict=True)]
        inner = self._answers(part["of"], made)
        return [expit(inner[0])] if part["link"] == "expit" else list(softmax(np.column_stack(inner)).T)

    def _linear(self, part: Mapping[str, Any], made: "_Made") -> list[Floats]:
        sums = [np.full(made.rows, value) for value in part["intercept"]]
        for place, op in enumerate(part["columns"]):
            column = made.column(op)
            for total, weights in zip(sums, part["weights"], strict=True):
                total += column * weights[place]
        return sums

    def _trees(self, part: Mapping[str, Any], made: "_Made") -> list[Floats]:
        trees = self.trees.get(part["arrays"])
        if trees is None:
            trees = self.trees[part["arrays"]] = self.prepare(self.form, part)
        sums = trees.sums([made.column(op) if place in trees.used else None for place, op in enumerate(part["columns"])], made.rows)
        return [total / part["divide"] for total in sums] if part["divide"] != 1 else sums

    def _calibrated(self, part: Mapping[str, Any], made: "_Made") -> list[Floats]:
        outputs = [_calibrate(values, calibrator) for values, calibrator in
                   zip(self._answers(part["of"], made), part["calibrators"], strict=True)]
        if len(outputs) == 1:
            return outputs
        whole = sum(outputs[1:], start=outputs[0])
        return [np.divide(each, whole, out=np.full(made.rows, 1 / len(outputs)), where=whole != 0) for each in outputs]


class _Made:
    """The columns of one block, made when they are asked for."""

    def __init__(self, ops: Sequence[Sequence[Any]], raw: Sequence[Column], rows: int) -> None:
        self.ops, self.raw, self.rows, self.done = ops, raw, rows, dict[int, Column]()

    def column(self, op: int) -> Any:
        if op not in self.done:
            kind, *given = self.ops[op]
            self.done[op] = self._make(kind, given)
        return self.done[op]

    def _make(self, kind: str, given: Sequence[Any]) -> Column:
        if kind == "raw":
            return self.raw[given[0]]
        if kind == "constant":
            return np.full(self.rows, given[0])
        x = self.column(given[0])
        if kind in ARITHMETIC:
            return ARITHMETIC[kind](x, given[1])
        if kind == "table":
            return _looked_up(x, *given[1:])
        if kind == "days":
            later, earlier = x, self.column(given[1])
            span = (later - earlier).astype(np.int64) / 1e6 / 86_400
            return np.where(np.isnat(later) | np.isnat(earlier), np.nan, span)
        if kind == "part":
            return np.where(np.isnat(x), np.nan, PARTS[given[1]](x))
        if kind in TEXTS:
            return x.mapped(lambda text: math.nan if text is None else TEXTS[kind](text))
        return {"fill": lambda: np.where(np.isnan(x), given[-1], x), "missing": lambda: np.isnan(x).astype(np.float64),
                "is": lambda: (x == given[-1]).astype(np.float64)}[kind]()


ARITHMETIC: Mapping[str, Callable[[Any, float], Any]] = {"+": lambda x, c: x + c, "-": lambda x, c: x - c, "*": lambda x, c: x * c,
                                                         "/": lambda x, c: x / c}
PARTS: Mapping[str, Callable[[Any], Any]] = {
    "hour": lambda x: (x.astype("M8[h]") - x.astype("M8[D]")).astype(np.float64),
    "weekday": lambda x: (x.astype("M8[D]").astype(np.int64) + 3) % 7 + 0.0,  # the first of January 1970 was a Thursday
    "month": lambda x: x.astype("M8[M]").astype(np.int64) % 12 + 1.0,
    "year": lambda x: x.astype("M8[Y]").astype(np.int64) + 1970.0}


def _cut(column: Column, rows: slice) -> Column:
    return column.part(rows) if isinstance(column, Texts) else column[rows]


def _looked_up(x: Column, keys: Sequence[Any], values: Sequence[float], unknown: float, missing: float) -> Floats:
    if isinstance(x, Texts):
        table = {**dict(zip(keys, values, strict=True)), None: missing}
        return x.mapped(lambda text: table.get(text, unknown))
    if not keys:
        return np.where(np.isnan(x), missing, unknown)
    order = np.argsort(keys)
    known, found = np.asarray(keys, dtype=np.float64)[order], np.asarray(values, dtype=np.float64)[order]
    place = np.minimum(np.searchsorted(known, x), len(known) - 1)
    return np.where(np.isnan(x), missing, np.where(known[place] == x, found[place], unknown))


def expit(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) by the C library's exponential, as scipy does; numpy's own differs in the last bit."""
    raised = np.array([*map(math.exp, np.minimum(-values, 709.0).tolist())])
    return np.asarray(1.0 / (1.0 + np.where(values > -709.0, raised, math.inf)))


def softmax(values: Floats) -> Floats:
    made = np.array(values, order="C")
    made -= made.max(axis=1, keepdims=True)
    np.exp(made, out=made)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def _calibrate(values: Floats, calibrator: Mapping[str, Any]) -> Floats:
    if "a" in calibrator:
        return expit(-(calibrator["a"] * values + calibrator["b"]))
    x, y = np.asarray(calibrator["x"]), np.asarray(calibrator["y"])
    if len(y) == 1:
        return np.full(len(values), y[0], dtype=np.float64)
    clipped = np.clip(values, x[0], x[-1])
    place = np.clip(np.searchsorted(x, clipped), 1, len(x) - 1)
    return np.asarray((y[place] - y[place - 1]) / (x[place] - x[place - 1]) * (clipped - x[place - 1]) + y[place - 1])
