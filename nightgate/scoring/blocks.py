"""Many rows: the same form over numpy arrays, equal to the last bit where one row is.

Trees of at most 64 leaves are answered without walking: each leaf is a bit, each threshold that a value exceeds takes the
leaves to its left away, and the first bit that stays is the leaf. Source: Lucchese et al., QuickScorer (SIGIR 2015).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.scoring.form import Form
from nightgate.scoring.rows import TEXTS

Floats = NDArray[np.float64]

MOST_LEAVES = 64
MOST_TABLE = 1 << 25
"""Bytes of the tables of one part; beyond, walking is as fast and smaller."""

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
    """A form, ready for many rows."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.trees: dict[str, _Quick | _Walked] = {}

    def __call__(self, columns: Sequence[Column], rows: int) -> Floats:
        """Return (n,) answers, or (n, classes), of columns in the order of `form.raw`."""
        pieces = [self._block([_cut(column, slice(start, start + BLOCK)) for column in columns], min(BLOCK, rows - start))
                  for start in range(0, rows, BLOCK)]
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
            whole = {name.removeprefix(part["arrays"] + "_"): array for name, array in self.form.arrays.items()
                     if name.startswith(part["arrays"] + "_")}
            trees = self.trees[part["arrays"]] = _prepared(whole, part)
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
    exp = math.exp
    return np.array([1.0 / (1.0 + (exp(-x) if x > -709.0 else math.inf)) for x in values.tolist()])


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


def _prepared(whole: Mapping[str, NDArray[Any]], part: Mapping[str, Any]) -> "_Quick | _Walked":
    leaves = np.add.reduceat(whole["feature"] < 0, whole["starts"])
    wide = np.uint64 if leaves.max() > 32 else np.uint32
    size = (len(whole["feature"]) + 3 * len(part["columns"])) * len(leaves) * np.dtype(wide).itemsize
    return _Quick(whole, part, wide) if leaves.max() <= MOST_LEAVES and size <= MOST_TABLE else _Walked(whole, part)


class _Walked:
    """Trees that every row walks down, level by level."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], part: Mapping[str, Any]) -> None:
        self.whole, self.base, self.used = whole, part["base"], set(whole["feature"].tolist()) - {-1}
        self.columns = len(part["columns"])
        known = int(max([max([*left, *right], default=0) for left, right in part["sets"]], default=0))
        self.goes_left = np.zeros((len(part["sets"]), known + 2), dtype=np.int8)  # the last place: unknown
        self.goes_left[:] = -1
        for place, (left, right) in enumerate(part["sets"]):
            self.goes_left[place, np.array(left, dtype=int)] = 1
            self.goes_left[place, np.array(right, dtype=int)] = 0
        self.goes_left[:, -1] = -1

    def sums(self, columns: Sequence[Floats | None], rows: int) -> list[Floats]:
        matrix = np.column_stack([np.zeros(rows) if column is None else column for column in columns])
        sums = [np.full(rows, value) for value in self.base]
        for start, output in zip(self.whole["starts"].tolist(), self.whole["output"].tolist(), strict=True):
            said = self.whole["value"][self._leaves(start, matrix)]
            for place in range(len(sums)):
                if output in (-1, place):
                    sums[place] += said[:, place] if output < 0 else said
        return sums

    def _leaves(self, start: int, matrix: Floats) -> NDArray[np.int64]:
        whole = self.whole
        nodes = np.full(len(matrix), start)
        going = np.arange(len(matrix)) if whole["feature"][start] >= 0 else np.empty(0, int)
        while len(going):
            at = nodes[going]
            x = matrix[going, whole["feature"][at]]
            left = x <= whole["threshold"][at]
            category = whole["category"][at]
            known = ~np.isnan(x)
            if len(self.goes_left):
                code = np.where(known & (x >= 0), np.minimum(np.nan_to_num(x), self.goes_left.shape[1] - 1), self.goes_left.shape[1] - 1)
                side = self.goes_left[category, code.astype(int)]
                left = np.where(category >= 0, side == 1, left)
                known &= (category < 0) | (side >= 0)
            left = np.where(known, left, whole["missing_left"][at])
            nodes[going] = np.where(left, whole["left"][at], whole["right"][at])
            going = going[whole["feature"][nodes[going]] >= 0]
        return nodes


class _Quick:
    """Trees of few leaves: for each column a table of the leaves that are left, by the interval that a value falls into."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], part: Mapping[str, Any], kind: type) -> None:
        self.base, self.kind, self.output = part["base"], kind, whole["output"]
        self.used = set(whole["feature"].tolist()) - {-1}
        self.trees = len(whole["starts"])
        first, last, leaf = self._leaves(whole)
        value = whole["value"]
        leaves = int(leaf.max()) + 1
        self.value = np.zeros((self.trees, leaves, *value.shape[1:]))
        tree_of = np.searchsorted(whole["starts"], np.arange(len(leaf)), side="right") - 1
        ends = np.flatnonzero(whole["feature"] < 0)
        self.value[tree_of[ends], leaf[ends]] = value[ends]
        self.flat = self.value.reshape(self.trees * leaves, *value.shape[1:])
        self.offset = np.arange(self.trees) * leaves
        self.tables = {place: self._table(place, whole, part["sets"], first, last, tree_of) for place in sorted(self.used)}

    def _leaves(self, whole: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the first and last leaf below each node, counted from the left, and the number of each leaf."""
        count = len(whole["feature"])
        first, last, leaf = np.zeros(count, int), np.zeros(count, int), np.full(count, -1)
        feature, lefts, rights = whole["feature"].tolist(), whole["left"].tolist(), whole["right"].tolist()
        for start in whole["starts"].tolist():
            seen, stack = 0, [(start, False)]
            while stack:
                node, closed = stack.pop()
                if feature[node] < 0:
                    first[node] = last[node] = leaf[node] = seen
                    seen += 1
                elif closed:
                    first[node], last[node] = first[lefts[node]], last[rights[node]]
                else:
                    stack += [(node, True), (rights[node], False), (lefts[node], False)]
        return first, last, leaf

    def _table(self, place: int, whole: Mapping[str, NDArray[Any]], sets: Sequence[Any], first: NDArray[Any], last: NDArray[Any],
               tree_of: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], bool]:
        """Return what a value is compared with, the leaves left of each interval and tree, and whether values are categories."""
        nodes = np.flatnonzero(whole["feature"] == place)
        categories = bool((whole["category"][nodes] >= 0).any())
        if categories:
            bounds = np.arange(max(max([*left, *right], default=0.0) for left, right in sets) + 1.0)
        else:
            bounds = np.unique(whole["threshold"][nodes])
        full = np.iinfo(self.kind).max
        table: NDArray[Any] = np.full((len(bounds) + 2, self.trees), full, dtype=self.kind)  # the last row: missing
        for node in nodes.tolist():
            left = whole["left"][node]
            below = ((1 << int(last[left] + 1)) - 1) ^ ((1 << int(first[left])) - 1)
            keep, tree = self.kind(full ^ below), tree_of[node]
            if not whole["missing_left"][node]:
                table[-1, tree] &= keep
            if categories:
                lefts, rights = sets[whole["category"][node]]
                away = set(range(len(bounds) + 1)) - {int(each) for each in lefts} if not whole["missing_left"][node] else \
                    {int(each) for each in rights}
                table[sorted(away), tree] &= keep
            else:
                table[np.searchsorted(bounds, whole["threshold"][node]) + 1:-1, tree] &= keep
        return bounds, table, categories

    def sums(self, columns: Sequence[Floats | None], rows: int) -> list[Floats]:
        stay: NDArray[Any] = np.full((rows, self.trees), np.iinfo(self.kind).max, dtype=self.kind)
        for place, (bounds, table, categories) in self.tables.items():
            column = columns[place]
            assert column is not None
            gone = np.isnan(column)
            if categories:
                gone |= column < 0
                at = np.minimum(np.where(gone, 0, column), len(bounds)).astype(np.intp)
            else:
                at = np.searchsorted(bounds, column)
            at[gone] = len(table) - 1
            stay &= table[at]
        lowest = stay & (~stay + self.kind(1))
        said = self.flat[np.bitwise_count(lowest - self.kind(1)) + self.offset]
        sums = [np.full(rows, value) for value in self.base]
        for tree in range(self.trees):
            for output, total in enumerate(sums):
                if self.output[tree] in (-1, output):
                    total += said[:, tree, output] if self.output[tree] < 0 else said[:, tree]
        return sums
