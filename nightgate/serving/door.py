"""The door: a request's rows, typed as training would have them, or every mistake of every row.

A good request is read by one msgspec decoder and one generated function. Whatever these do not like is looked at again,
slowly, value by value: that reading alone decides, and says what is wrong.
"""

import hmac
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from nightgate.serving.expressions import expression_of, holds

Row = tuple[Any, ...]

LARGEST_BODY = 8 * 2**20
MOST_ROWS = 10_000
MOST_MISTAKES = 50
LARGEST_EXACT = 2**53
LARGEST = 3.4028234e38
"""Numbers beyond are refused: forests hold numbers in 32 bits."""

TOKEN_CHARACTERS = 32
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII)
_SENT: Mapping[str, Any] = {"integer": int, "number": float, "boolean": bool, "text": str, "date": str}
_BOUNDS: Mapping[str, str] = {"integer": f"-{2**63} <= @ < {2**63}", "number": f"-{LARGEST_EXACT}.0 <= @ <= {LARGEST_EXACT}.0"}
"""Within which the fast reading decides."""

NEEDED: Mapping[str, str] = {"integer": "integer of 64 bits", "number": "number up to 3.4e38", "boolean": "boolean", "text": "text",
                             "date": "date as text, such as 2026-11-20T08:30:00"}


class RefusedError(Exception):
    """A request that is refused: its mistakes, of which at most `MOST_MISTAKES` are told, and the status of the answer."""

    def __init__(self, mistakes: Sequence[str], code: int = 422) -> None:
        self.code = code
        self.mistakes = list(mistakes) if len(mistakes) <= MOST_MISTAKES else [*mistakes[:MOST_MISTAKES], "… and more"]
        super().__init__(self.mistakes[0])


class _DoubtError(Exception):
    """What the fast reading does not decide."""


class Door:
    """What a request to one release must be. `keys` may be named, too: what a row is about, for the log. `key` makes the tokens of
    masked columns."""

    def __init__(self, raw: Mapping[str, str], *, rules: Sequence[Mapping[str, Any]], missing: Sequence[str], mask: Sequence[str],
                 zone: str, key: bytes, keys: Mapping[str, str] | None = None) -> None:
        self.raw, self.rules, self.missing, self.mask = dict(raw), rules, frozenset(missing), frozenset(mask)
        self.keys = dict(keys or {})
        self.zone, self.key = ZoneInfo(zone), key
        self.names = {name: place for place, name in enumerate(raw)}
        self.tests = [expression_of(rule, self.names, raw) for rule in rules]
        fields: list[Any] = [(f"c{place}", _SENT[kind] | None) for place, kind in enumerate(raw.values())]
        fields += [(f"k{place}", _SENT[kind] | msgspec.UnsetType | None, msgspec.UNSET) for place, kind in enumerate(self.keys.values())]
        rename = dict(zip((field[0] for field in fields), (*raw, *self.keys), strict=True))
        one = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True)
        many = msgspec.defstruct("Rows", [("rows", list[one])], forbid_unknown_fields=True)  # type: ignore[valid-type]
        self._one: Callable[[bytes], Any] = msgspec.json.Decoder(one).decode
        self._many: Callable[[bytes], Any] = msgspec.json.Decoder(many).decode
        self._typed = self._writing()
        self._colons = len(raw) + sum(name.count(":") for name in raw)

    def rows(self, body: bytes) -> list[Row]:
        """Return the typed rows of a body: one row as an object, or `{"rows": [rows]}`. Raises RefusedError."""
        try:
            return self._fast(body)
        except (msgspec.DecodeError, _DoubtError, ValueError, OverflowError, RecursionError):
            return self.checked(parsed(body))

    def _fast(self, body: bytes) -> list[Row]:
        if b"\\" in body:  # a name may be spelt in two ways
            raise _DoubtError
        typed = self._typed
        many = body.startswith(b'{"rows"') and "rows" not in self.raw
        if many:
            decoded = self._many(body).rows
            if not 0 < len(decoded) <= MOST_ROWS:
                raise _DoubtError
            made = [typed(each) for each in decoded]
        else:
            made = [typed(self._one(body))]
        colons = sum(each[1] for each in made) + len(made) * self._colons + many
        if body.count(b":") != colons:  # a field stands twice, or a text holds one more than it seems
            raise _DoubtError
        return [each[0] for each in made]

    def _writing(self) -> Callable[[Any], tuple[Row, int]]:
        """Write the function that types a decoded row and asks the rules; it also counts the colons of its texts."""
        space: dict[str, Any] = {"missing": self.missing, "moment": self._moment, "token": self._token, "Doubt": _DoubtError,
                                 "UNSET": msgspec.UNSET}
        lines, texts = ["def typed(s):"], []
        for place, kind in enumerate(self.raw.values()):
            value = f"v{place}"
            lines.append(f"    {value} = s.c{place}")
            if kind in ("text", "date"):
                texts.append(value)
        lines.append(f"    colons = {' + '.join(f'({value}.count(chr58) if {value} is not None else 0)' for value in texts) or '0'}")
        space["chr58"] = ":"
        for place, (name, kind) in enumerate(self.raw.items()):
            value = f"v{place}"
            if kind == "text":
                lines += [f"    if {value} is not None:", f"        {value} = {value}.strip()",
                          f"        {value} = None if {value} in missing else {'token(' + value + ')' if name in self.mask else value}"]
            elif kind == "date":
                lines += [f"    if {value} is not None: {value} = moment({value})"]
            elif kind in _BOUNDS:
                lines += [f"    if {value} is not None and not {_BOUNDS[kind].replace('@', value)}: raise Doubt"]
        lines += self._of_keys()
        for number, (expression, constants) in enumerate(self.tests):
            space |= {f"r{number}_{key}": constant for key, constant in constants.items()}
            lines.append(f"    if not ({expression.replace('@', f'r{number}_')}): raise Doubt")
        lines.append(f"    return ({', '.join(f'v{place}' for place in range(len(self.raw)))},), colons")
        exec(compile("\n".join(lines), "<door>", "exec"), space)  # written here, of places and names of our own
        made: Callable[[Any], tuple[Row, int]] = space["typed"]
        return made

    def _of_keys(self) -> list[str]:
        """Write the lines that look at what a row is about, where it says so."""
        lines = []
        for place, (name, kind) in enumerate(self.keys.items()):
            lines += [f"    k = s.k{place}", "    if k is not UNSET:", f"        colons += {1 + name.count(':')}"]
            if kind in ("text", "date"):
                lines += ["        if k is not None: colons += k.count(chr58)"]
            if kind == "date":
                lines += ["        if k is not None: moment(k)"]
            if kind in _BOUNDS:
                lines += [f"        if k is not None and not {_BOUNDS[kind].replace('@', 'k')}: raise Doubt"]
        return lines

    def checked(self, rows: Sequence[Any]) -> list[Row]:
        """Return typed rows of plain objects. Raises RefusedError with every mistake of every row."""
        if len(rows) > MOST_ROWS:
            raise RefusedError([f"{len(rows):,} rows; at most {MOST_ROWS:,} are answered at once"])
        made, mistakes = [], list[str]()
        for number, row in enumerate(rows):
            values, found = self._looked_at(row)
            made.append(values)
            mistakes += [f"rows[{number}]{told}" for told in found]
            if len(mistakes) > MOST_MISTAKES:
                break
        if mistakes:
            raise RefusedError(mistakes)
        return made

    def _looked_at(self, row: Any) -> tuple[Row, list[str]]:
        if not isinstance(row, dict):
            return (), [": no object"]
        mistakes = [f".{plain(str(name))[:60]}: unknown field" for name in sorted(row.keys() - self.raw.keys() - self.keys.keys())]
        mistakes += [f".{name}: {told}" for name, kind in self.keys.items()
                     if name in row and (told := self._value(name, kind, row[name])[1])]
        values: list[Any] = []
        wrong: set[str] = set()
        for name, kind in self.raw.items():
            value, told = self._value(name, kind, row[name]) if name in row else (None, "missing; null says that it is not known")
            values.append(value)
            if told:
                wrong.add(name)
                mistakes.append(f".{name}: {told}")
        for each, (expression, constants) in zip(self.rules, self.tests, strict=True):
            if wrong.isdisjoint(each["columns"]) and not holds(expression, constants, values):
                mistakes.append(f".{each['columns'][0]}: {each['sentence']}")
        return tuple(values), mistakes

    def _value(self, name: str, kind: str, value: Any) -> tuple[Any, str]:
        """Return a value as training would have it, and what is wrong with it. The value itself is never told."""
        if value is None:
            return None, ""
        if kind == "integer" and isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT:
            value = int(value)  # JSON knows no difference, and some writers make none
        if not _is(value, kind):
            return None, f"found {NAMES.get(type(value), 'something else')}, needed {NEEDED[kind]}"
        if kind == "number":
            return float(value), ""
        if kind == "date":
            try:
                return self._moment(value), ""
            except (ValueError, OverflowError):
                return None, f"this text is no {NEEDED[kind]}"
        if kind == "text":
            value = value.strip()
            return (None, "") if value in self.missing else (self._token(value) if name in self.mask else value, "")
        return value, ""

    def _moment(self, text: str) -> datetime | None:
        text = text.strip()
        if text in self.missing:
            return None
        if _DATE.fullmatch(text) is None:
            raise ValueError("no date")
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(self.zone).replace(tzinfo=None)

    def _token(self, text: str) -> str:
        return hmac.digest(self.key, text.encode(), "sha256").hex()[:TOKEN_CHARACTERS]

    def logged(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return rows as they were sent, masked columns as tokens: what may be written down."""
        return [{name: self._token(value.strip()) if name in self.mask and isinstance(value, str) and value.strip() not in self.missing
                 else value for name, value in row.items()} for row in rows]


def parsed(body: bytes) -> list[Any]:
    """Return the rows of a body. Raises RefusedError for what is no JSON, or neither of the two forms."""
    value = plain_json(body)
    many = isinstance(value, dict) and set(value) == {"rows"} and isinstance(value["rows"], list)  # no column holds a list
    rows = value["rows"] if many else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(["the body is neither one row as an object nor {\"rows\": [rows]}"])
    return rows


def plain_json(body: bytes, *, constant: Callable[[str], Any] | None = None) -> Any:
    """Return the value of strict JSON in UTF-8; `constant` reads NaN and infinities, which JSON has not. Raises RefusedError."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=constant or no_number, object_pairs_hook=_without_twins)
    except UnicodeDecodeError:
        raise RefusedError(["the body is no JSON: it is not in UTF-8"]) from None
    except json.JSONDecodeError as error:
        raise RefusedError([f"the body is no JSON: {error.msg} at character {error.pos}"]) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError([f"the body is no JSON: {str(error)[:100]}"]) from None


NAMES = {str: "text", bool: "a boolean", int: "an integer", float: "a number", list: "a list", dict: "an object"}


def _is(value: Any, kind: str) -> bool:
    """Say whether a value is of a kind; a whole number that a float would round is no number."""
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) and -2**63 <= value < 2**63
    if kind == "number":
        return abs(value) <= LARGEST_EXACT if isinstance(value, int) else \
            isinstance(value, float) and math.isfinite(value) and abs(value) <= LARGEST
    return isinstance(value, str) and plain(value) == value


def plain(text: str) -> str:
    """Return a text as UTF-8 can say it: half a surrogate pair, which JSON can, it cannot."""
    return text.encode("utf-8", "replace").decode()


def no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field stands twice in one object")
    return found
