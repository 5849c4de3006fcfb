"""Row conditions in a small grammar of their own: Great Expectations hands them to code that can write files.

    condition := and ("or" and)*        and := not ("and" not)*        not := "not" not | "(" condition ")" | test
    test      := column op value | column ["not"] "in" (value, …) | column "is" ["not"] "null" | column ".notNull()" …
    column    := name | `name` | col("name") | "name"
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightgate.errors import SuiteError

LONGEST = 2_000
_TOKEN = re.compile(r"""\s*(?:(?P<col>col\(\s*(?:"([^"]*)"|'([^']*)')\s*\))|(?P<quoted>`([^`]+)`)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<sign><=|>=|==|!=|<>|=|<|>|\(|\)|\[|\]|,|&|\||~|\.)|(?P<word>[^\W\d][\w]*))""", re.VERBOSE)
_SIGNS = {"==": "=", "=": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
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
    return "'" + str(value).replace("'", "''") + "'"


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
        if self.take("not", "~"):
            return f"(NOT {self.negated()})"
        if self.take("("):
            inner = self.either()
            self.need(")")
            return inner
        return self.test()

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
            return f"({column} {'NOT ' if negated else ''}IN ({', '.join(self.values())}))"
        sign = self.next()
        if negated or sign.text not in _SIGNS:
            raise self.lost()
        return f"({column} {_SIGNS[sign.text]} {self.value()})"

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
