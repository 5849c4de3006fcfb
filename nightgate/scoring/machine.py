"""Trees for very many rows, in machine code that numba makes: equal to the last bit to what they do over arrays.

It needs the extra `fast`. No other thread waits for it, so that several answer at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

from nightgate.scoring.forests import Floats, Quick, Walked, prepared
from nightgate.scoring.form import Form

BLOCK = 131_072
"""Rows at once: the kernels cut them into pieces of their own."""

PIECE = 64
"""Rows whose leaves stay in the processor's nearest cache."""

WIDTH = 16
"""Trees of one line of the cache."""


def fast(form: Form, part: Mapping[str, Any]) -> Quick | Walked:
    return prepared(form, part, quick=FastQuick, walked=FastWalked)


def kernel(function: Callable[..., None]) -> Any:
    """Compile a function when it is first called; what is compiled is kept beside it, or in the user's cache."""
    return njit(nogil=True, cache=True)(function)


class FastQuick(Quick):
    """Few leaves. `lines`: the table, its rows as wide as lines of the cache."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], part: Mapping[str, Any], kind: type) -> None:
        super().__init__(whole, part, kind)
        self.lines = np.pad(self.table, ((0, 0), (0, -self.trees % WIDTH)))
        self.said = self.flat.reshape(len(self.flat), -1)

    def sums(self, columns: Sequence[Floats | None], rows: int) -> list[Floats]:
        lines = np.empty((len(self.columns), rows), np.uint32)
        for line, (place, found) in zip(lines, self.columns.items(), strict=True):
            column = columns[place]
            assert column is not None
            steps = len(found.bounds).bit_length()
            bounds = np.full((1 << steps) - 1, np.inf)
            bounds[:len(found.bounds)] = found.bounds
            _intervals(np.where(column >= 0, np.floor(column), np.nan) if found.categories else column, bounds, steps, found.first,
                       found.missing, line)
        sums = np.repeat(np.array(self.base)[:, None], rows, axis=1)
        _add_leaves(lines, self.lines, self.said, self.offset, self.output, sums)
        return list(sums)


class FastWalked(Walked):
    """Trees that one row after the other walks down, a piece of the rows in all trees before the next."""

    def sums(self, columns: Sequence[Floats | None], rows: int) -> list[Floats]:
        matrix = np.column_stack([np.zeros(rows) if column is None else column for column in columns])
        sums = np.repeat(np.array(self.base)[:, None], rows, axis=1)
        nodes = [self.whole[name] for name in ("feature", "threshold", "left", "right", "missing_left", "category")]
        value = self.whole["value"]
        _walk(matrix, self.whole["starts"], self.whole["output"], *nodes, self.goes_left, value.reshape(len(value), -1), sums)
        return list(sums)


@kernel
def _intervals(x: Any, bounds: Any, steps: Any, first: Any, missing: Any, lines: Any) -> None:  # pragma: no cover (machine code)
    """Find the line of each value's interval among `bounds`, 2 ** steps - 1 of them, all rows a step at a time."""
    for start in range(0, len(x), PIECE):
        count = min(PIECE, len(x) - start)
        place = np.zeros(PIECE, np.uint32)
        half = np.uint32(1 << steps)
        for _ in range(steps):
            half = half >> np.uint32(1)
            for row in range(count):
                place[row] += half if bounds[place[row] + half - np.uint32(1)] < x[start + row] else np.uint32(0)
        for row in range(count):
            value = x[start + row]
            lines[start + row] = first + place[row] if value == value else missing


def _lowest_bit(_: Any, word: Any) -> Any:
    """Return the number of the lowest bit that is set, in the machine's words."""
    return word(word), lambda context, builder, signature, given: builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))


_lowest: Any = intrinsic(_lowest_bit)


@kernel
def _add_leaves(lines: Any, table: Any, said: Any, offset: Any, output: Any, sums: Any) -> None:  # pragma: no cover (machine code)
    """Take for each row the leaves that stay of all trees, and add what they say, tree after tree."""
    columns, rows = lines.shape
    stay = np.empty((PIECE, table.shape[1]), table.dtype)
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        for row in range(count):
            mine = stay[row]
            mine[:] = table[lines[0, start + row]]
            for column in range(1, columns - 3, 4):  # four at once: what stays is written a quarter as often
                one, two = table[lines[column, start + row]], table[lines[column + 1, start + row]]
                three, four = table[lines[column + 2, start + row]], table[lines[column + 3, start + row]]
                for tree in range(len(mine)):
                    mine[tree] &= one[tree] & two[tree] & three[tree] & four[tree]
            for column in range(columns - (columns - 1) % 4, columns):
                one = table[lines[column, start + row]]
                for tree in range(len(mine)):
                    mine[tree] &= one[tree]
        for tree in range(len(output)):
            first = np.uint64(offset[tree])
            for place in range(said.shape[1]):
                total = sums[max(output[tree], 0) + place, start:start + count]
                for row in range(count):
                    total[row] += said[first + _lowest(stay[row, tree]), place]


@kernel
def _walk(matrix: Any, starts: Any, output: Any, feature: Any, threshold: Any, left: Any, right: Any, missing_left: Any, category: Any,
          goes_left: Any, said: Any, sums: Any) -> None:  # pragma: no cover (machine code)
    for start in range(0, len(matrix), PIECE):
        for tree in range(len(starts)):
            to = max(output[tree], 0)
            for row in range(start, min(start + PIECE, len(matrix))):
                node = starts[tree]
                while feature[node] >= 0:
                    x = matrix[row, feature[node]]
                    side = -1
                    if category[node] < 0:
                        side = -1 if x != x else 1 if x <= threshold[node] else 0
                    elif x >= 0:
                        side = goes_left[category[node], int(min(x, goes_left.shape[1] - 1))]
                    left_side = missing_left[node] if side < 0 else side == 1
                    node = left[node] if left_side else right[node]
                for place in range(said.shape[1]):
                    sums[to + place, row] += said[node, place]
