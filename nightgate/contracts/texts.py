"""The shape of texts: a regular expression that all of them match, as narrow as it stays readable."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

MOST_PARTS = 8
LONGEST = 60
_KINDS = (("[0-9]", re.compile("[0-9]")), ("[A-Z]", re.compile("[A-Z]")), ("[a-z]", re.compile("[a-z]")))
MOJIBAKE = r"[ÃÂ][\x80-\xBF€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œŸ]|â€|�"
"""What UTF-8 becomes when it is read as Latin-1 or Windows-1252, and what stands for bytes that were no text."""


@dataclass(frozen=True)
class TextShape:
    """An expectation about a regular expression; `against` rows of those seen do not keep it."""

    type: str
    regex: str
    note: str
    against: int = 0


def shape(counts: Mapping[str, int]) -> TextShape | None:
    """Return what all texts have in common; `counts` maps each to its rows."""
    parts = {_parts(text) for text in itertools.islice(counts, 10_000)}
    kinds = {tuple(kind for kind, _ in each) for each in parts}
    if len(kinds) == 1 and 0 < len(next(iter(kinds))) <= MOST_PARTS and all(_parts_of(text, next(iter(kinds))) for text in counts):
        every = [_parts(text) for text in counts]
        regex = "".join(kind + _times({each[at][1] for each in every}) for at, kind in enumerate(next(iter(kinds))))
        return TextShape("expect_column_values_to_match_regex", f"^{regex}$", "All are built alike.")
    if all(text.isascii() and text.isprintable() for text in counts):
        lengths = [len(text) for text in counts]
        spread = max(1, (max(lengths) - min(lengths)) // 4)
        return TextShape("expect_column_values_to_match_regex", f"^[ -~]{{{max(min(lengths) - spread, 0)},{max(lengths) + spread}}}$",
                         f"{min(lengths)} to {max(lengths)} letters, digits and signs of ASCII: others would be damaged text.")
    damaged = sum(rows for text, rows in counts.items() if re.search(MOJIBAKE, text))
    return TextShape("expect_column_values_to_not_match_regex", MOJIBAKE, "No text that was read in a wrong encoding.", damaged)


def _parts(text: str) -> tuple[tuple[str, int], ...]:
    """Cut a text into runs of one kind of character, each with its length."""
    kinds = (next((name for name, pattern in _KINDS if pattern.match(sign)), re.escape(sign)) for sign in text[:LONGEST])
    return tuple((kind, len([*run])) for kind, run in itertools.groupby(kinds))


def _parts_of(text: str, kinds: tuple[str, ...]) -> bool:
    return len(text) < LONGEST and tuple(kind for kind, _ in _parts(text)) == kinds


def _times(lengths: set[int]) -> str:
    low, high = min(lengths), max(lengths)
    if low == high:
        return "" if low == 1 else f"{{{low}}}"
    return "+" if low == 1 else f"{{{low},}}"
