"""The scorer's form: what a raw row goes through, from its typed values to the prediction, as pure data.

`ops` are columns, each made of columns before it, so that a reader goes through them once:

| op | value |
| --- | --- |
| `raw, place` | the row's value: a finite number, a text or a moment; None where missing |
| `part, x, name` | hour, weekday, month or year of a moment |
| `days, x, y` | days from moment y to moment x |
| `length, x`, `words, x`, `digits, x` | of a text |
| `fill, x, value`, `missing, x` | imputed, and 1 where there was nothing |
| `+, x, c`, `-, x, c`, `*, x, c`, `/, x, c` | with a constant |
| `table, x, keys, values, unknown, missing` | the value of a category |
| `is, x, c` | 1 where x is c |
| `constant, c` | |

The model is a tree of dicts, each with its `kind`: `linear`, `trees`, `link`, `calibrated`, `constant`.
"""

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nightgate import layouts

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray[Any, Any]]

LAYOUT = 1


@dataclass(frozen=True)
class Form:
    """A compiled scorer. `raw`: the columns that a row brings, with their types; `mask`: those that become tokens first.

    `arrays` hold the nodes of trees, named as the model's parts name them.
    """

    model: str
    version: int
    task: str
    classes: list[str]
    threshold: float | None
    raw: dict[str, str]
    mask: list[str]
    missing: list[str]
    decimal: str
    zone: str
    ops: list[list[Any]]
    root: dict[str, Any]
    arrays: "Arrays"
    layout: int = LAYOUT


def written(form: Form) -> dict[str, bytes]:
    """Return the files of a scorer by their names."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **form.arrays)  # type: ignore[arg-type] # its other keyword is no name of ours
    plain = {key: value for key, value in asdict(replace(form, arrays={})).items() if key != "arrays"}
    return {"scorer.json": json.dumps(plain, ensure_ascii=False).encode(), "scorer.npz": buffer.getvalue()}


def read(files: dict[str, bytes]) -> Form:
    """Return the scorer of its files; nothing in them can run. Raises StoreError for another layout."""
    import numpy as np

    value = json.loads(files["scorer.json"])
    layouts.demand("The scorer", value.get("layout"), LAYOUT, older="Run the model again: the next release has one that it reads.")
    with np.load(io.BytesIO(files["scorer.npz"]), allow_pickle=False) as arrays:
        return Form(**value, arrays={name: arrays[name] for name in arrays.files})


def digits(text: str) -> float:
    return float(sum("0" <= letter <= "9" for letter in text)) / len(text) if text else math.nan


TEXTS: Mapping[str, Callable[[str], float]] = {"length": lambda text: float(len(text)),
                                                  "words": lambda text: float(len(text.split())), "digits": digits}
