"""Guessing a definition from data: what `nightgate new` writes, each guess with the reason that stands beside it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightgate.datasets import ColumnType
from nightgate.definition.model import Task
from nightgate.errors import DataUnusable, UsageError
from nightgate.sources.types import Reading, fitted
from nightgate.wording import named

KEY_NAME = re.compile(r"(?:^|[_\s.-])(?:id|key|uuid|guid|no|nr|number)$|^id(?:[_\s.-]|$)", re.IGNORECASE)
CAMEL_KEY = re.compile(r"[a-z](?:ID|Id|Key)$")
POSITIVE_WORDS = ("1", "yes", "y", "true", "t", "positive", "pos", "bad", "default", "churn", "fraud", "malignant", "failure")
MOST_CLASSES = 50
MOST_WHOLE_CLASSES = 5
"""Different whole numbers up to which a target is classes; more are taken for an amount."""

UNIQUE = 0.99
"""Share of different values from which a column names the row."""

MOST_LEVELS = 0.5
"""Share of different values from which a text column says something else in every row."""

MOSTLY_NUMBERS = 0.9
WORDS_OF_PROSE = 3.0


@dataclass(frozen=True)
class Guesses:
    """What was guessed. `excluded` maps columns to the reason why they are no features."""

    task: Task
    positive: str | None
    entity: tuple[str, ...]
    time: str | None
    text: tuple[str, ...]
    excluded: dict[str, str]
    told: dict[str, str] = field(default_factory=dict)


def guess(table: pa.Table, types: dict[str, ColumnType], *, target: str, entity: Sequence[str] = (),
          time: str | None = None, task: Task | None = None, positive: str | None = None) -> Guesses:
    """Guess from a sample what the caller has not said. Raises UsageError for columns that are not there, and
    DataUnusable for a target that cannot be learnt."""
    for name in (target, *entity, *([time] if time else [])):
        if name not in types:
            raise UsageError(f"There is no column `{name}`; the data have {named(types, 20)}.",
                             remedy="Names count letter by letter.")
    told: dict[str, str] = {}
    task = task or _task(table, target, types[target], told)
    if task == "binary":
        positive = positive or _positive(table, target, told)
    if time is None:
        time = _time(types, target, told)
    excluded: dict[str, str] = {}
    keys = tuple(entity) or _entity(table, types, {target, time}, excluded, told)
    rest = [name for name in types if name not in {target, time, *keys, *excluded}]
    prose = []
    for name in rest:
        distinct, share, words = _shape(table, name, types[name])
        if distinct <= 1:
            excluded[name] = "it never changes"
        elif types[name] == "text" and words >= WORDS_OF_PROSE and share > 0.2:
            prose.append(name)
        elif types[name] == "text" and share > MOST_LEVELS and distinct > 20:
            excluded[name] = _nearly(table, name) or "it is different in nearly every row"
    return Guesses(task, positive, keys, time, tuple(prose), excluded, told)


def _nearly(table: pa.Table, name: str) -> str:
    """Say so when most values of a text column are numbers or dates: one that is none made it text."""
    values = table[name].drop_null().cast("string").combine_chunks()
    for kind, word in (("number", "numeric"), ("date", "date")):
        made = fitted(values.dictionary_encode(), kind, Reading(".", (), UTC))  # type: ignore[arg-type]
        good = len(values) - made.null_count
        if good >= MOSTLY_NUMBERS * len(values):
            other = next(value for value, fits in zip(values.to_pylist(), made.is_valid().to_pylist(), strict=True) if not fits)
            return (f"it is text, though {good:,} of {len(values):,} values are {kind}s, not so {_toml(str(other)[:40])}: mend the others, "
                    f"or declare it under columns.{word}")
    return ""


def _task(table: pa.Table, target: str, kind: ColumnType, told: dict[str, str]) -> Task:
    distinct = _distinct(table, target)
    if distinct < 2:
        found = "the same value in every row" if distinct else "no value"
        raise DataUnusable(f"The target `{target}` has {found}; there is nothing to learn.",
                           remedy="Name another target, or more data.")
    if distinct == 2:
        told["task"] = "the target has two values"
        return "binary"
    if kind in ("number", "date") or (kind == "integer" and distinct > MOST_WHOLE_CLASSES):
        told["task"] = f"the target is a number with {distinct:,} values; say --task multiclass if they are classes"
        return "regression"
    if distinct > MOST_CLASSES:
        raise DataUnusable(f"The target `{target}` is {kind} with {distinct:,} different values; at most {MOST_CLASSES} classes.",
                           remedy="Name another target, or put rare classes together in the source.")
    told["task"] = f"the target has {distinct} classes"
    return "multiclass"


def _positive(table: pa.Table, target: str, told: dict[str, str]) -> str:
    counts = {_text(each["values"]): each["counts"] for each in pc.value_counts(table[target].drop_null()).to_pylist()}
    words = [value for value in counts if value.strip().lower() in POSITIVE_WORDS]
    if words == ["1"] and not {"0", "-1"} & counts.keys():
        words = []  # of 1 and 2, neither says yes
    positive = words[0] if len(words) == 1 else min(counts, key=lambda value: (counts[value], value))
    reason = "the name says so" if len(words) == 1 else "the rarer class"
    told["positive"] = f"{reason}; {counts[positive] / sum(counts.values()):.1%} of the rows"
    return positive


def _time(types: dict[str, ColumnType], target: str, told: dict[str, str]) -> str | None:
    dates = [name for name, kind in types.items() if kind == "date" and name != target]
    if len(dates) != 1 or re.search(r"birth|dob|expir|due", dates[0], re.IGNORECASE):
        return None
    told["time"] = "the only date column"
    return dates[0]


def _entity(table: pa.Table, types: dict[str, ColumnType], taken: set[str | None], excluded: dict[str, str],
            told: dict[str, str]) -> tuple[str, ...]:
    """Return the key if one column looks like it; columns that only number the rows are excluded."""
    found: tuple[str, ...] = ()
    for name, kind in types.items():
        if name in taken or kind not in ("text", "integer") or table.num_rows < 20:
            continue
        if _distinct(table, name) < UNIQUE * table.num_rows:
            continue
        named = bool(KEY_NAME.search(name) or CAMEL_KEY.search(name))
        if not found and named:
            found, told["entity"] = (name,), "a different value in every row, and its name"
        elif named or (kind == "integer" and _counts_up(table, name)):
            excluded[name] = "it numbers the rows"
    return found


def _counts_up(table: pa.Table, name: str) -> bool:
    values = table[name].drop_null().to_numpy()
    return bool(len(values) > 1 and np.all(np.diff(values) == 1))


def _shape(table: pa.Table, name: str, kind: ColumnType) -> tuple[int, float, float]:
    """Return distinct values, their share of the rows, and the mean number of words of a text column."""
    distinct = _distinct(table, name)
    known = max(table.num_rows - table[name].null_count, 1)
    words = 0.0
    if kind == "text":
        texts = pc.cast(table[name].drop_null(), "string")
        words = 1.0 + float(pc.mean(pc.count_substring_regex(texts, r"\s+")).as_py() or 0.0)
    return distinct, distinct / known, words


def _distinct(table: pa.Table, name: str) -> int:
    return int(pc.count_distinct(table[name], mode="only_valid").as_py())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def definition_text(name: str, source: dict[str, str | bool], target: str, guesses: Guesses, *, salt: str,
                    privacy: dict[str, list[str]]) -> str:
    """Return the text of `models/<name>.toml`: every guess with its reason in a comment."""
    told = guesses.told
    lines = ["#:schema definition.schema.json", _line("name", name, {"name": "as this file"}),
             'owner = ""                       # who answers for this model',
             'purpose = ""                     # what its predictions are used for',
             _line("task", guesses.task, told), _line("target", target, {"target": "what is predicted"})]
    if guesses.positive is not None:
        lines.append(_line("positive", guesses.positive, told))
    if guesses.entity:
        lines.append(_line("entity", list(guesses.entity), {"entity": "key of what a row is about", **told}))
    if guesses.time is not None:
        lines.append(_line("time", guesses.time, {"time": "when a row became true", **told}))
    lines += ["", "[source]", *(_line(key, value, {"data": "where the rows come from"}) for key, value in source.items())]
    if guesses.excluded or guesses.text:
        lines += ["", "[columns]"]
        if guesses.excluded:
            lines += ["exclude = [", *(f"    {_toml(column)},  # {reason}" for column, reason in guesses.excluded.items()), "]"]
        if guesses.text:
            lines.append(f"text = {_toml(list(guesses.text))}  # prose: its length and words become features")
    if any(privacy.values()):
        lines += ["", "[privacy]", *(_line(key, names, {}) for key, names in privacy.items() if names)]
    lines += ["", "[training]", f"salt = {_toml(salt)}                # decides which rows are held out; keep it",
              "", "[promotion]", 'rule = "better"                  # a challenger must be shown to be better',
              'false = "10 % a month"           # how often a promotion without real gain is acceptable',
              "", "[schedule]", 'cron = "0 2 * * *"               # every night at two',
              'timezone = "UTC"']
    return "\n".join(lines) + "\n"


def _line(key: str, value: object, told: dict[str, str]) -> str:
    text = f"{key} = {_toml(value)}"
    return f"{text:<32} # {told[key]}" if key in told else text


def _toml(value: object) -> str:
    """Write a text or a list of texts as TOML: JSON's strings are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
