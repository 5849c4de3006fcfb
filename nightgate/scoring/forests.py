"""Trees of a form: written out or walked for one row, over arrays for many, equal to the last bit to scikit-learn's.

Trees of at most 64 leaves are answered without walking: each leaf is a bit, each threshold that a value exceeds takes the
leaves to its left away, and the first bit that stays is the leaf. Source: Lucchese et al., QuickScorer (SIGIR 2015).
"""

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightgate.scoring.form import Form

Floats = NDArray[np.float64]

MOST_LEAVES = 64
MOST_TABLE = 1 << 25
"""Bytes of the tables of one part; beyond, walking is as fast and smaller."""

MOST_NODES = 60_000
DEEPEST = 60
"""Nodes and depth of trees that are written out: Python's parser takes 100 levels, and memory grows by 100 bytes a node."""


def nodes_of(form: Form, part: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a part's trees by their names."""
    return {name: form.arrays[f"{part['arrays']}_{name}"] for name in
            ("starts", "output", "feature", "threshold", "left", "right", "missing_left", "category", "value")}


class Walked:
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


@dataclass(frozen=True)
class Rows:
    """Where a column's rows of the table are: the first interval's, the one of missing values, and what a value is compared with."""

    first: int
    missing: int
    bounds: NDArray[np.float64]
    categories: bool


class Quick:
    """Trees of few leaves: for each column a table of the leaves that are left, by the interval that a value falls into."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], part: Mapping[str, Any], kind: type) -> None:
        self.base, self.kind, self.output, self.bit = part["base"], kind, whole["output"], kind(1)
        self.used = set(whole["feature"].tolist()) - {-1}
        self.trees = len(whole["starts"])
        first, last, leaf = self._leaves(whole)
        value = whole["value"]
        leaves = int(leaf.max()) + 1
        self.offset = np.arange(self.trees) * leaves
        self.flat = np.zeros((self.trees * leaves, *value.shape[1:]))
        tree_of = np.searchsorted(whole["starts"], np.arange(len(leaf)), side="right") - 1
        ends = np.flatnonzero(whole["feature"] < 0)
        self.flat[self.offset[tree_of[ends]] + leaf[ends]] = value[ends]
        made = {place: self._table(place, whole, part["sets"], first, last, tree_of) for place in sorted(self.used)}
        self.table = np.concatenate([table for _, table, _ in made.values()])
        starts = np.cumsum([0, *(len(table) for _, table, _ in made.values())]).tolist()
        self.columns = {place: Rows(start, after - 1, bounds, categories) for (place, (bounds, _, categories)), start, after
                        in zip(made.items(), starts, starts[1:], strict=False)}
        self.places = [np.flatnonzero(self.output == place) for place in range(len(self.base))]
        self.size, self.before = self.trees * np.dtype(kind).itemsize, self.offset - 1
        self.first = self.flat.copy()  # what the first trees say holds the base already
        for place, base in enumerate(self.base):
            tree = int(self.places[place][0]) if value.ndim == 1 else 0
            self.first.reshape(self.trees, leaves, -1)[tree, :, place if value.ndim == 2 else 0] += base

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
        for place, found in self.columns.items():
            column = columns[place]
            assert column is not None
            gone = np.isnan(column)
            if found.categories:
                gone |= column < 0
                at = np.minimum(np.where(gone, 0, column), len(found.bounds)).astype(np.intp) + found.first
            else:
                at = np.searchsorted(found.bounds, column) + found.first
            at[gone] = found.missing
            stay &= self.table[at]
        said = self.flat[np.bitwise_count(stay ^ (stay - self.bit)) + self.before]
        sums = [np.full(rows, value) for value in self.base]
        for tree in range(self.trees):
            for output, total in enumerate(sums):
                if self.output[tree] in (-1, output):
                    total += said[:, tree, output] if self.output[tree] < 0 else said[:, tree]
        return sums

    def masks(self, place: int) -> tuple[list[int], int]:
        """Return the leaves left of each interval of a column, over all trees, and those left of a missing value, as whole numbers."""
        rows = self.columns[place]
        made = [int.from_bytes(row.tobytes(), sys.byteorder) for row in self.table[rows.first:rows.missing + 1]]
        return made[:-1], made[-1]

    def one(self, left: int) -> list[float]:
        """Return the sums of one row, of whose leaves these are left; added one after the other, as scikit-learn does."""
        stay: NDArray[Any] = np.frombuffer(left.to_bytes(self.size, sys.byteorder), self.kind)
        said = self.first.take(np.bitwise_count(stay ^ (stay - self.bit)) + self.before, 0)
        if said.ndim == 2:
            return list(map(float, np.add.accumulate(said)[-1]))
        if len(self.places) == 1:
            return [np.add.accumulate(said).item(-1)]
        return [np.add.accumulate(said[trees]).item(-1) for trees in self.places]


def prepared(form: Form, part: Mapping[str, Any], quick: type[Quick] = Quick, walked: type[Walked] = Walked) -> Quick | Walked:
    """Return the trees of a part, ready in the form that suits their size."""
    whole = nodes_of(form, part)
    leaves = np.add.reduceat(whole["feature"] < 0, whole["starts"])
    wide = np.uint64 if leaves.max() > 32 else np.uint32
    size = (len(whole["feature"]) + 3 * len(part["columns"])) * len(leaves) * np.dtype(wide).itemsize
    return quick(whole, part, wide) if 1 < leaves.max() <= MOST_LEAVES and size <= MOST_TABLE else walked(whole, part)


class Trees:
    """The nodes of a part's trees as Python's own lists."""

    def __init__(self, form: Form, part: Mapping[str, Any]) -> None:
        whole = nodes_of(form, part)
        self.used = set(whole["feature"].tolist()) - {-1}
        self.large = len(whole["feature"]) > MOST_NODES or _depth(whole) > DEEPEST
        self.starts, self.output = whole["starts"].tolist(), whole["output"].tolist()
        self.feature, self.threshold, self.left, self.right, self.missing_left, self.category, self.value = (
            whole[name] if self.large else whole[name].tolist() for name in
            ("feature", "threshold", "left", "right", "missing_left", "category", "value"))
        if self.large:  # arrays of Python's own are read ten times faster than numpy's, one number at a time
            self.feature, self.left, self.right = (array("i", each.tobytes()) for each in (self.feature, self.left, self.right))
            self.threshold, self.category = array("d", self.threshold.tobytes()), array("i", self.category.tobytes())
            self.missing_left = self.missing_left.tobytes()
            self.value = array("d", self.value.tobytes()) if self.value.ndim == 1 else self.value.tolist()
        self.left_set = [frozenset(left) for left, _ in part["sets"]]
        self.right_set = [frozenset(right) for _, right in part["sets"]]

    def write(self, node: int, level: int, output: int, outputs: Sequence[str], used: set[int], lines: list[str]) -> None:
        """Write the lines of a subtree."""
        space = "    " * level if level < 2 else " " * (level + 3)
        feature = self.feature[node]
        if feature < 0:
            value = self.value[node]
            added = zip(outputs, value, strict=True) if output < 0 else [(outputs[output], value)]
            lines += [f"{space}{name} += {number_of(each)}" for name, each in added]
            return
        used.add(feature)
        lines.append(f"{space}if {self._test(node, f'x{feature}')}:")
        self.write(self.left[node], level + 1, output, outputs, used, lines)
        lines.append(f"{space}else:")
        self.write(self.right[node], level + 1, output, outputs, used, lines)

    def _test(self, node: int, x: str) -> str:
        """Return what is true where a value goes left. NaN is neither above nor at most a threshold, and in no set."""
        category, missing_left = self.category[node], self.missing_left[node]
        if category >= 0:
            members = sorted(self.right_set[category] if missing_left else self.left_set[category])
            if not members:
                return repr(bool(missing_left))
            return f"{x} {'not in' if missing_left else 'in'} {{{', '.join(map(number_of, members))}}}"
        bound = number_of(self.threshold[node])
        return f"not {x} > {bound}" if missing_left else f"{x} <= {bound}"

    def leaf(self, node: int, values: Sequence[float]) -> int:
        """Walk from a node to its leaf."""
        feature, threshold, left, right, missing, category = (self.feature, self.threshold, self.left, self.right, self.missing_left,
                                                              self.category)
        while (which := feature[node]) >= 0:
            x = values[which]
            if category[node] >= 0:
                goes = x not in self.right_set[category[node]] if missing[node] else x in self.left_set[category[node]]
            else:
                goes = not x > threshold[node] if missing[node] else x <= threshold[node]
            node = left[node] if goes else right[node]
        return node


def walked(trees: Trees, values: Sequence[float], sums: list[float]) -> list[float]:
    """Add what each tree's leaf says to the sums."""
    for start, output in zip(trees.starts, trees.output, strict=True):
        said = trees.value[trees.leaf(start, values)]
        if output < 0:
            sums = [one + other for one, other in zip(sums, said, strict=True)]
        else:
            sums[output] += said
    return sums


def _depth(whole: Mapping[str, Any]) -> int:
    """Return the depth of the deepest tree: parents stand before their children."""
    level, depth = whole["starts"], 0
    while len(level := level[whole["feature"][level] >= 0]):
        level, depth = np.concatenate([whole["left"][level], whole["right"][level]]), depth + 1
    return depth


def number_of(value: float) -> str:
    """Write a number as Python reads it back, to the last bit."""
    text = repr(float(value))
    return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(text, f"({text})" if text.startswith("-") else text)
