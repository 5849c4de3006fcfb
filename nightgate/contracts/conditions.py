"""Row conditions in a small grammar of their own: Great Expectations hands them to code that can write files.

    condition := and ("or" and)*        and := not ("and" not)*        not := "not" not | "(" condition ")" | test
    test      := sum op value | sum op sum | column ["not"] "in" (value, …) | column "is" ["not"] "null" | column ".notNull()" …
    sum       := column (("+" | "-") column)*
    column    := name | `name` | col("name") | "name"

The objects that newer versions write are understood too. A comparison with a missing value is false, as in pandas: `x != 1`
and `not x in (1, 2)` select rows where x is missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightgate.errors import SuiteError

LONGEST = 2_000
DEEPEST = 30
_TOKEN = re.compile(r"""\s*(?:(?P<col>col\(\s*(?:"([^"]*)"|'([^']*)')\s*\))|(?P<quoted>`([^`]+)`)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<sign><=|>=|==|!=|<>|=|<|>|\(|\)|\[|\]|,|&|\||~|\.|\+|-)|(?P<word>[^\W\d][\w]*))""", re.VERBOSE)
_SIGNS = {"==": "=", "=": "=", "!=": "IS DISTINCT FROM", "<>": "IS DISTINCT FROM", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_NULLS = {"isnull": "IS NULL", "isna": "IS NULL", "notnull": "IS NOT NULL", "notna": "IS NOT NULL"}


@dataclass(frozen=True)
class Condition:
    """A condition that was understood: the text it came from, SQL with quoted names, the columns it names."""

    text: str
    sql: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    end: int


def parse_condition(text: object) -> Condition:
    """Return a condition; raise SuiteError for whatever the grammar does not hold."""
    if isinstance(text, dict):
        columns: list[str] = []
        sql = _of_object(text, columns, 0)
        return Condition(sql, sql, tuple(dict.fromkeys(columns)))
    if not isinstance(text, str) or len(text) > LONGEST:
        raise SuiteError(f"a condition is a text of at most {LONGEST:,} characters")
    parser = _Parser(text, _tokens(text))
    sql = parser.either()
    if parser.place < len(parser.tokens):
        raise parser.lost()
    return Condition(text, sql, tuple(dict.fromkeys(parser.columns)))


def identifier(name: str) -> str:
    """Quote a column's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Write a value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    return "'" + str(value).replace("'", "''") + "'"


def comparison(column: str, sign: str, value: str) -> str:
    """Compare a column with a value, both as SQL; missing values are not equal to any."""
    word = _SIGNS[sign]
    return f"({column} {word} {value})" if word.startswith("IS") else f"(({column} {word} {value}) IS TRUE)"


def membership(column: str, values: Sequence[str], *, negated: bool) -> str:
    inside = f"(({column} IN ({', '.join(values)})) IS TRUE)"
    return f"(NOT {inside})" if negated else inside


def _of_object(value: Any, columns: list[str], depth: int) -> str:
    """Return the SQL of a condition that is written as an object, noting its columns."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    if depth > DEEPEST:
        raise SuiteError(f"conditions nest deeper than {DEEPEST}")
    if kind == "pass_through":
        inner = parse_condition(value.get("pass_through_filter"))
        columns += inner.columns
        return inner.sql
    if kind in ("and", "or"):
        parts = [_of_object(each, columns, depth + 1) for each in value.get("conditions") or ()]
        if parts:
            return "(" + f" {str(kind).upper()} ".join(parts) + ")"
    column = value.get("column") if isinstance(value, Mapping) else None
    name = column.get("name") if isinstance(column, Mapping) else None
    if not isinstance(name, str):
        raise SuiteError(f"cannot understand the condition {str(value)[:80]!r}")
    columns.append(name)
    if kind == "nullity" and isinstance(value.get("is_null"), bool):
        return f"({identifier(name)} IS {'' if value['is_null'] else 'NOT '}NULL)"
    sign, found = value.get("operator"), value.get("parameter")
    many = found if isinstance(found, list) else [found]
    if kind == "comparison" and many and all(isinstance(each, str | int | float) for each in many):
        if sign in ("IN", "NOT_IN") and isinstance(found, list):
            return membership(identifier(name), [literal(each) for each in found], negated=sign == "NOT_IN")
        if sign in _SIGNS and not isinstance(found, list):
            return comparison(identifier(name), str(sign), literal(found))
    raise SuiteError(f"cannot understand the condition {str(value)[:80]!r}")


def _tokens(text: str) -> list[Token]:
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise SuiteError(f"cannot read {text[place:place + 20].strip()!r} in {text[:80]!r}")
        kind = str(match.lastgroup)
        inner = {"col": match[2] if match[2] is not None else match[3], "quoted": match[5]}.get(kind, match[0].strip())
        found.append(Token(kind, str(inner), match.end()))
        place = match.end()
    return found


class _Parser:
    """Walks the tokens once, from left to right."""

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self.text, self.tokens, self.place = text, tokens, 0
        self.columns: list[str] = []
        self.depth = 0

    def either(self) -> str:
        parts = [self.both()]
        while self.take("or", "|"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else "(" + " OR ".join(parts) + ")"

    def both(self) -> str:
        parts = [self.negated()]
        while self.take("and", "&"):
            parts.append(self.negated())
        return parts[0] if len(parts) == 1 else "(" + " AND ".join(parts) + ")"

    def negated(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            raise SuiteError(f"the condition {self.text[:80]!r} nests more than {DEEPEST} levels")
        if self.take("not", "~"):
            found = f"(NOT {self.negated()})"
        elif self.take("("):
            found = self.either()
            self.need(")")
        else:
            found = self.test()
        self.depth -= 1
        return found

    def test(self) -> str:
        column = self.column()
        if self.take("is"):
            negated = self.take("not")
            if not self.take("null", "none"):
                raise self.lost()
            return f"({column} IS {'NOT ' if negated else ''}NULL)"
        if self.take("."):
            word = self.next()
            if word.text.lower() not in _NULLS:
                raise self.lost()
            self.need("(")
            self.need(")")
            return f"({column} {_NULLS[word.text.lower()]})"
        negated = self.take("not")
        if self.take("in"):
            return membership(column, self.values(), negated=negated)
        whole = self.more(column)
        sign = self.next()
        if negated or sign.text not in _SIGNS:
            raise self.lost()
        if not self.names_column():
            return comparison(whole, sign.text, self.value())
        other = self.more(self.column())
        if _SIGNS[sign.text] == "IS DISTINCT FROM":  # of two missing values, too, as in pandas
            return f"(NOT (({whole} = {other}) IS TRUE))"
        return comparison(whole, sign.text, other)

    def more(self, column: str) -> str:
        """Return a sum that begins with a column."""
        parts = [column]
        while (sign := self.peek()) in ("+", "-") and self.take(sign):
            parts += [sign, self.column()]
        return column if len(parts) == 1 else f"({' '.join(parts)})"

    def names_column(self) -> bool:
        kind = self.tokens[self.place].kind if self.place < len(self.tokens) else ""
        return kind in ("col", "quoted") or (kind == "word" and self.peek() not in ("true", "false"))

    def column(self) -> str:
        token = self.next()
        name = token.text[1:-1] if token.kind == "text" else token.text
        if token.kind not in ("col", "quoted", "word", "text") or token.text.lower() in ("and", "or", "in", "is"):
            raise self.lost()
        self.columns.append(name)
        return identifier(name)

    def values(self) -> list[str]:
        closing = "]" if self.take("[") else ")"
        if closing == ")":
            self.need("(")
        found = [self.value()]
        while self.take(","):
            found.append(self.value())
        self.need(closing)
        return found

    def value(self) -> str:
        token = self.next()
        if token.kind == "number":
            return token.text
        if token.kind == "text":
            return literal(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if token.text.lower() in ("true", "false"):
            return token.text.upper()
        raise self.lost()

    def next(self) -> Token:
        if self.place >= len(self.tokens):
            raise self.lost()
        self.place += 1
        return self.tokens[self.place - 1]

    def peek(self) -> str:
        return self.tokens[self.place].text.lower() if self.place < len(self.tokens) else ""

    def take(self, *words: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place].kind in ("sign", "word") and self.peek() in words:
            self.place += 1
            return True
        return False

    def need(self, word: str) -> None:
        if not self.take(word):
            raise self.lost()

    def lost(self) -> SuiteError:
        begin = self.tokens[self.place - 1].end if self.place and self.place <= len(self.tokens) else 0
        return SuiteError(f"cannot understand {self.text[:80]!r} at character {begin}; conditions compare columns with values, "
                          "joined by and, or, not")
