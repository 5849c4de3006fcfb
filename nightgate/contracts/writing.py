"""Writing suites in Great Expectations' JSON: readable top to bottom, each rule with its reason and its evidence."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nightgate.store import Store

VERSION = "1.24.1"
"""Great Expectations whose JSON this is."""

Expectation = dict[str, Any]


def expect(kind: str, arguments: dict[str, Any], notes: str, **evidence: Any) -> Expectation:
    """Return an expectation; `evidence` says what the rule was learnt from."""
    return {"type": kind, "kwargs": arguments, "notes": notes, "severity": "critical", "meta": {"nightgate": evidence}}


def mostly(allowed: float) -> dict[str, float]:
    """Return the argument that lets a share of the rows be against a rule."""
    return {"mostly": math.floor((1 - allowed) * 10_000) / 10_000}


def suite(name: str, expectations: Sequence[Expectation], own: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "expectations": list(expectations), "meta": {"great_expectations_version": VERSION, "nightgate": own}}


def replace_suite(path: Path, text: str) -> None:
    """Replace a suite's file in one step. Raises StoreError when it cannot be written."""
    Store(str(path.parent)).write(path.name, text.encode())


def as_text(suite: dict[str, Any], *, before: str = "") -> str:
    """Return a suite as JSON that is read top to bottom: an expectation is four lines, whatever it lists.

    Where the file was indented otherwise `before`, it stays so: a person wants to see what changed alone.
    """
    for indent, ascii_only in itertools.product((2, 4, 1, None), (False, True)) if before else ():
        if before.rstrip() == json.dumps(json.loads(before), indent=indent, ensure_ascii=ascii_only):
            return json.dumps(suite, indent=indent, ensure_ascii=ascii_only) + before[len(before.rstrip()):]
    if suite.keys() != {"name", "expectations", "meta"}:  # as another tool wrote it
        return json.dumps(suite, indent=2, ensure_ascii=False) + "\n"
    parts = [",\n     ".join(f"{_json(key)}: {_json(value)}" for key, value in each.items()) for each in suite["expectations"]]
    whole = ",\n".join(f"    {{{part}}}" for part in parts)
    return f'{{\n  "name": {_json(suite["name"])},\n  "expectations": [\n{whole}\n  ],\n  "meta": {_json(suite["meta"])}\n}}\n'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def outward(value: float, *, up: bool) -> float:
    """Keep six digits that count, since a person reads them; never nearer to the data than they were."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    rounded = float(f"{(math.ceil if up else math.floor)(value / step) * step:.6g}")
    return max(rounded, value) if up else min(rounded, value)  # the division may have lost a last digit
