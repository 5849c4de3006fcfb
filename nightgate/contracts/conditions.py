"""Row conditions in a small grammar of their own: Great Expectations hands them to code that can write files.

    condition := condition ("and" | "or") condition | "not" condition | "(" condition ")" | test
    test      := sum op value | sum op sum | column ["not"] "in" (value, …) | column "is" ["not"] "null" | column ".notNull()" …
    sum       := column (("+" | "-") column)*
    column    := name | `name` | col("name") | "name"

Python's own parser finds the structure of a condition whose every name and value is replaced by a number; nothing is run, and
what is none of the above is refused. The objects that newer versions write are understood too. A comparison with a missing
value is false, as in pandas: `x != 1` and `not x in (1, 2)` select rows where x is missing.
"""

import ast
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from nightgate.errors import SuiteError

LONGEST = 2_000
DEEPEST = 30
_TOKEN = re.compile(r"""\s*(?:(?P<col>col\(\s*(?:"([^"]*)"|'([^']*)')\s*\))|(?P<quoted>`([^`]+)`)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<sign><=|>=|==|!=|<>|=|<|>|\(|\)|\[|\]|,|&|\||~|\.|\+|-)|(?P<word>[^\W\d][\w]*))""", re.VERBOSE)
_SIGNS = {"==": "=", "=": "=", "!=": "IS DISTINCT FROM", "<>": "IS DISTINCT FROM", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WRITTEN: Mapping[type[ast.cmpop], str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_PYTHONS = {"and": "and", "&": "and", "or": "or", "|": "or", "not": "not", "~": "not", "in": "in", "is": "is", "=": "==", "<>": "!="}
"""Signs and words as Python writes them."""

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
    begin: int


def parse_condition(text: object) -> Condition:
    """Return a condition; raise SuiteError for whatever the grammar does not hold."""
    if isinstance(text, dict):
        columns: list[str] = []
        sql = _of_object(text, columns, 0)
        return Condition(sql, sql, tuple(dict.fromkeys(columns)))
    if not isinstance(text, str) or len(text) > LONGEST:
        raise SuiteError(f"a condition is a text of at most {LONGEST:,} characters")
    reader = _Reader(text)
    return Condition(text, reader.read(), tuple(dict.fromkeys(reader.columns)))


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
        found.append(Token(kind, str(inner), match.start()))
        place = match.end()
    return found


class _Reader:
    """Writes the SQL of a condition, noting its columns."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.columns = text, _tokens(text), list[str]()
        self.pieces = [_PYTHONS.get(token.text.lower(), token.text if token.kind == "sign" else f"_{place}")
                       if token.kind in ("sign", "word") else f"_{place}" for place, token in enumerate(self.tokens)]

    def read(self) -> str:
        try:
            return self.condition(ast.parse(" ".join(self.pieces), mode="eval").body, 0)
        except SyntaxError as error:
            raise self.lost((error.offset or 1) - 1) from None
        except (MemoryError, RecursionError):
            raise SuiteError(f"the condition {self.text[:80]!r} nests more than {DEEPEST} levels") from None

    def condition(self, node: ast.expr, depth: int) -> str:
        if depth > DEEPEST:
            raise RecursionError
        match node:
            case ast.BoolOp(values=parts):
                word = " AND " if isinstance(node.op, ast.And) else " OR "
                return "(" + word.join(self.condition(part, depth + 1) for part in parts) + ")"
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return f"(NOT {self.condition(inner, depth + 1)})"
            case ast.Call(func=ast.Attribute(value=column, attr=name), args=[], keywords=[]):
                test = _NULLS.get(self.tokens[int(name[1:])].text.lower())
                if test is not None:
                    return f"({self.column(column)} {test})"
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return self.compared(left, sign, right)
        raise self.lost(node.col_offset)

    def compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> str:
        if isinstance(sign, ast.Is | ast.IsNot):
            if self.token(right).text.lower() not in ("null", "none"):
                raise self.lost(right.col_offset)
            return f"({self.column(left)} IS {'NOT ' if isinstance(sign, ast.IsNot) else ''}NULL)"
        if isinstance(sign, ast.In | ast.NotIn):
            values = right.elts if isinstance(right, ast.Tuple | ast.List) else [right]
            if not values:
                raise self.lost(right.col_offset)
            return membership(self.column(left), [*map(self.value, values)], negated=isinstance(sign, ast.NotIn))
        whole, written = self.sum(left), _WRITTEN[type(sign)]
        if not self.names_column(right):
            return comparison(whole, written, self.value(right))
        other = self.sum(right)
        if written == "!=":  # of two missing values, too, as in pandas
            return f"(NOT (({whole} = {other}) IS TRUE))"
        return comparison(whole, written, other)

    def sum(self, node: ast.expr) -> str:
        return f"({self.added(node)})" if isinstance(node, ast.BinOp) else self.column(node)

    def added(self, node: ast.expr) -> str:
        if isinstance(node, ast.BinOp):
            return f"{self.added(node.left)} {'+' if isinstance(node.op, ast.Add) else '-'} {self.column(node.right)}"
        return self.column(node)

    def names_column(self, node: ast.expr) -> bool:
        return isinstance(node, ast.BinOp) or (token := self.token(node)).kind in ("col", "quoted") or (
            token.kind == "word" and token.text.lower() not in ("true", "false"))

    def column(self, node: ast.expr) -> str:
        token = self.token(node)
        if token.kind == "number":
            raise self.lost(node.col_offset)
        self.columns.append(token.text[1:-1] if token.kind == "text" else token.text)
        return identifier(self.columns[-1])

    def value(self, node: ast.expr) -> str:
        token = self.token(node)
        if token.kind == "text":
            return literal(re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if token.kind == "number":
            return token.text
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return token.text.upper()
        raise self.lost(node.col_offset)

    def token(self, node: ast.expr) -> Token:
        if not isinstance(node, ast.Name):
            raise self.lost(node.col_offset)
        return self.tokens[int(node.id[1:])]

    def lost(self, place: int) -> SuiteError:
        """Return the error of a place among the pieces, which names it in the text."""
        ends = [*accumulate(len(piece) + 1 for piece in self.pieces)]
        number = bisect_right(ends, place)
        begin = self.tokens[number].begin if number < len(self.tokens) else len(self.text)
        return SuiteError(f"cannot understand {self.text[:80]!r} at character {begin}; conditions compare columns with values, "
                          "joined by and, or, not")
