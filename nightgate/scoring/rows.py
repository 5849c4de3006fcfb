"""One row: a form written out as plain Python, which answers in microseconds. Needs nothing but the form.

Many trees of few leaves are looked up in a table (`forests.Quick`). Others become nested `if`s in functions of a few trees each:
compiling a large one would hold the interpreter, and requests with it, for as long. Large forests are walked instead.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nightgate.scoring.forests import Quick, Trees, number_of, prepared, walked
from nightgate.scoring.form import TEXTS, Form

Row = Callable[..., Any]

GROUP = 5
"""Trees of one generated function."""

MANY = 50
"""Trees from which one look at a table for all of them is faster than `if`s."""


def row_scorer(form: Form) -> Row:
    """Return a function of one row's values, in the order of `form.raw`: a number, or one of each class.

    Values are finite numbers, booleans, texts and datetimes as the contract has them, None where missing.
    """
    writer = _Writer(form)
    answer = writer.model(form.root)
    names = ", ".join(f"v{place}" for place in range(len(form.raw)))
    body = [f"def row({names}):", *(f"    {line}" for line in writer.lines), f"    return {answer}"]
    return writer.function("row", body)


class _Writer:
    """Lines of the function as they are written, with the constants that they name."""

    def __init__(self, form: Form) -> None:
        self.form, self.lines, self.done, self.count = form, list[str](), set[int](), 0
        self.names: dict[str, Any] = {"nan": math.nan, "inf": math.inf, "exp": math.exp, "isotonic": isotonic, "walked": walked,
                                      "softmax": softmax, "shares": shares, "bisect": bisect_left}

    def function(self, name: str, lines: Sequence[str]) -> Row:
        space = dict(self.names)
        exec(compile("\n".join(lines), f"<{self.form.model} {self.form.version}>", "exec"), space)  # written here, of numbers alone
        made: Row = space[name]
        return made

    def constant(self, value: Any) -> str:
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def fresh(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def column(self, op: int) -> str:
        """Write a column and what it is made of, once; return its name."""
        if op not in self.done:
            self.done.add(op)
            self.lines.append(f"c{op} = {self._expression(*self.form.ops[op])}")
        return f"c{op}"

    def _expression(self, kind: str, *given: Any) -> str:
        if kind == "raw":
            number = [*self.form.raw.values()][given[0]] in ("number", "integer", "boolean")
            return f"nan if v{given[0]} is None else v{given[0]} + 0.0" if number else f"v{given[0]}"
        if kind == "constant":
            return number_of(given[0])
        x = self.column(given[0])
        if kind in "+-*/":
            return f"{x} {kind} {number_of(given[1])}"
        if kind == "table":
            return self.lookup(given[0], dict(zip(given[1], given[2], strict=True)), given[3], given[4])
        if kind == "days":
            other = self.column(given[1])
            return f"nan if {x} is None or {other} is None else ({x} - {other}).total_seconds() / 86400"
        if kind == "part":
            asked = "weekday()" if given[1] == "weekday" else given[1]
            return f"nan if {x} is None else {x}.{asked} + 0.0"
        if kind in ("length", "words", "digits"):
            return f"nan if {x} is None else {self.constant(TEXTS[kind])}({x})"
        return {"fill": f"{x} if {x} == {x} else {number_of(given[-1])}", "missing": f"0.0 if {x} == {x} else 1.0",
                "is": f"1.0 if {x} == {number_of(given[-1])} else 0.0"}[kind]

    def lookup(self, op: int, values: Mapping[Any, Any], unknown: Any, missing: Any) -> str:
        """Look a category up. Missing texts are None, missing numbers NaN, which no table finds."""
        x, table = self.column(op), self.constant({**values, None: missing})
        other = self.constant(unknown)
        numeric = any(isinstance(key, float) for key in values)
        return f"({table}.get({x}, {other}) if {x} == {x} else {self.constant(missing)})" if numeric else f"{table}.get({x}, {other})"

    def model(self, part: Mapping[str, Any]) -> str:
        """Write a part of the model; return the expression of its answer, a list where it has several."""
        outputs = self.outputs(part)
        if len(outputs) == 1:
            return outputs[0]
        return f"softmax([{', '.join(outputs)}])" if part["kind"] == "link" else f"[{', '.join(outputs)}]"

    def outputs(self, part: Mapping[str, Any]) -> list[str]:
        kind = part["kind"]
        if kind == "linear":
            return self._linear(part)
        if kind == "trees":
            return self._trees(part)
        if kind == "constant":
            return [number_of(value) for value in part["values"]]
        if kind == "calibrated":
            return self._calibrated(part)
        inner = self.outputs(part["of"])
        return [self._expit(inner[0])] if part["link"] == "expit" else inner

    def answers(self, part: Mapping[str, Any]) -> list[str]:
        """Write a part with its link; return the names of its answers."""
        outputs = self.outputs(part)
        if part["kind"] == "link" and part["link"] == "softmax":
            name = self.fresh()
            self.lines.append(f"{name} = softmax([{', '.join(outputs)}])")
            return [f"{name}[{place}]" for place in range(len(outputs))]
        return outputs

    def _expit(self, expression: str) -> str:
        name = self.fresh()
        self.lines.append(f"{name} = {expression}")
        return f"1.0 / (1.0 + (exp(-{name}) if {name} > -709.0 else inf))"

    def _linear(self, part: Mapping[str, Any]) -> list[str]:
        names = []
        hot: dict[int, dict[float, list[float]]] = {}
        plain: list[tuple[str, int]] = []
        for place, op in enumerate(part["columns"]):
            kind, *given = self.form.ops[op]
            if kind == "is":
                hot.setdefault(given[0], {})[given[1]] = [weights[place] for weights in part["weights"]]
            else:
                plain.append((self.column(op), place))
        tables = [(self._weights(code, weights, len(part["weights"])), self.fresh()) for code, weights in hot.items()]
        self.lines += [f"{name} = {expression}" for expression, name in tables]
        for output, intercept in enumerate(part["intercept"]):
            weights = part["weights"][output]
            terms = [f"{column} * {number_of(weights[place])}" for column, place in plain] + [f"{name}[{output}]" for _, name in tables]
            names.append(name := self.fresh())
            self.lines += [f"{name} = {number_of(intercept)}", *(f"{name} += {term}" for term in terms)]
        return names

    def _weights(self, code: int, weights: Mapping[float, list[float]], outputs: int) -> str:
        """Look up the weights of a category at once, in the place of a column of zeros and ones for each."""
        nothing = [0.0] * outputs
        kind, *given = self.form.ops[code]
        assert kind == "table", "one-hot columns come of a table"
        values = {key: weights.get(value, nothing) for key, value in zip(given[1], given[2], strict=True)}
        return self.lookup(given[0], values, weights.get(given[3], nothing), weights.get(given[4], nothing))

    def _calibrated(self, part: Mapping[str, Any]) -> list[str]:
        sums: list[list[str]] = []
        for each in part["parts"]:
            made = []
            for expression, calibrator in zip(self.answers(each["of"]), each["calibrators"], strict=True):
                if "a" in calibrator:
                    made.append(self._expit(f"-({number_of(calibrator['a'])} * ({expression}) + {number_of(calibrator['b'])})"))
                else:
                    made.append(f"isotonic({expression}, {self.constant(calibrator['x'])}, {self.constant(calibrator['y'])})")
            if len(made) > 1:
                name = self.fresh()
                self.lines.append(f"{name} = shares([{', '.join(made)}])")
                made = [f"{name}[{place}]" for place in range(len(made))]
            sums.append(made)
        return [f"({' + '.join(column)}) / {len(sums)}" for column in zip(*sums, strict=True)]

    def _trees(self, part: Mapping[str, Any]) -> list[str]:
        if len(self.form.arrays[f"{part['arrays']}_starts"]) >= MANY and isinstance(quick := prepared(self.form, part), Quick):
            return self._quick(quick, part)
        trees = Trees(self.form, part)
        columns = [self.column(op) if place in trees.used else "nan" for place, op in enumerate(part["columns"])]
        outputs = [self.fresh() for _ in part["base"]]
        self.lines += [f"{name} = {number_of(value)}" for name, value in zip(outputs, part["base"], strict=True)]
        if trees.large:
            whole = self.constant(trees)
            sums = ", ".join(outputs)
            self.lines.append(f"[{sums}] = walked({whole}, [{', '.join(columns)}], [{sums}])")
        else:
            for first in range(0, len(trees.starts), GROUP):
                self._group(trees, range(first, min(first + GROUP, len(trees.starts))), columns, outputs)
        self._divide(part, outputs)
        return outputs

    def _divide(self, part: Mapping[str, Any], outputs: Sequence[str]) -> None:
        if part["divide"] != 1:
            self.lines += [f"{name} /= {part['divide']}.0" for name in outputs]

    def _quick(self, quick: Quick, part: Mapping[str, Any]) -> list[str]:
        """Write where each value falls in its column's table; what stays of the leaves is found over all trees at once."""
        left = self.fresh()
        for number, (place, rows) in enumerate(quick.columns.items()):
            x, last = self.column(part["columns"][place]), len(rows.bounds)
            masks, missing = map(self.constant, quick.masks(place))
            if rows.categories:
                found = f"{masks}[int({x} if {x} < {last} else {last})] if {x} >= 0.0 else {missing}"
            else:
                found = f"{masks}[bisect({self.constant(rows.bounds.tolist())}, {x})] if {x} == {x} else {missing}"
            self.lines.append(f"{left} {'&' if number else ''}= {found}")
        outputs = [self.fresh() for _ in part["base"]]
        self.lines.append(f"[{', '.join(outputs)}] = {self.constant(quick.one)}({left})")
        self._divide(part, outputs)
        return outputs

    def _group(self, trees: "Trees", chosen: range, columns: Sequence[str], outputs: Sequence[str]) -> None:
        lines: list[str] = []
        used: set[int] = set()
        for tree in chosen:
            trees.write(trees.starts[tree], 1, trees.output[tree], outputs, used, lines)
        given = ", ".join([*outputs, *(f"x{place}" for place in sorted(used))])
        name = f"g{len(self.names)}"
        self.names[name] = self.function(name, [f"def {name}({given}):", *lines, f"    return {', '.join(outputs)}"])
        passed = ", ".join([*outputs, *(columns[place] for place in sorted(used))])
        self.lines.append(f"{', '.join(outputs)} = {name}({passed})")


def softmax(values: Sequence[float]) -> list[float]:
    """Return shares as numpy makes them: its exponential differs from the C library's in the last bit."""
    made = np.array([values])
    made -= made.max(axis=1, keepdims=True)
    np.exp(made, out=made)
    made /= made.sum(axis=1, keepdims=True)
    answer: list[float] = made[0].tolist()
    return answer


def shares(values: Sequence[float]) -> list[float]:
    """Return values over their sum, equal shares where all are zero."""
    whole = math.fsum(values)
    return [value / whole for value in values] if whole else [1 / len(values)] * len(values)


def isotonic(value: float, x: Sequence[float], y: Sequence[float]) -> float:
    """Interpolate between thresholds, as scipy's interp1d does."""
    if len(y) == 1:
        return y[0]
    value = min(max(value, x[0]), x[-1])
    place = min(max(bisect_left(x, value), 1), len(x) - 1)
    slope = (y[place] - y[place - 1]) / (x[place] - x[place - 1])
    return slope * (value - x[place - 1]) + y[place - 1]
