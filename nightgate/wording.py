"""How things are said to people, the same everywhere."""

import difflib
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from nightgate.errors import UsageError

if TYPE_CHECKING:
    from nightgate.records import Interval


def figure(value: float, *, sign: bool = False) -> str:
    """Write a figure with four digits that count, large ones without decimals."""
    plus = "+" if sign else ""
    if abs(value) >= 10_000:
        return f"{value:{plus},.0f}"
    if value == 0 or 1e-4 <= abs(value) < 1_000:
        return f"{value:{plus}.4f}" if abs(value) < 1 else f"{value:{plus}#.4g}"
    return f"{value:{plus},.1f}" if abs(value) >= 1_000 else f"{value:{plus}.2e}"


def counted(count: int, thing: str) -> str:
    """Write a number of things, `1 row` or `1,200 rows`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def named(names: Collection[str], most: int = 5) -> str:
    """List names, each as code, at most so many of them."""
    shown = ", ".join(f"`{name}`" for name in [*names][:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def meant(word: str, known: Iterable[str]) -> str:
    """Ask whether the nearest of what is known was meant; empty where nothing is near."""
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f"Did you mean `{close[0]}`?" if close else ""


def asked(question: str) -> str:
    """Return what a person answers. Raises UsageError where nobody is there."""
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked.", remedy="Add --yes if it is meant.")
    return input(question).strip()


def agreed(question: str) -> bool:
    return asked(f"{question} [y/N] ").casefold() in ("y", "yes")


def interval(found: "Interval", *, sign: bool = False) -> str:
    """Write a figure with its interval, as `0.912 [0.894, 0.930]`."""
    value, low, high = (figure(each, sign=sign) for each in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
