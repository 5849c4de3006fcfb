"""Families of values: what a type's name means, as pandas, numpy, Arrow, SQL or DuckDB write it."""

import re
from collections.abc import Mapping
from typing import Literal

Types = Mapping[str, str]
"""Names of columns and the types that DuckDB gives them."""

Family = Literal["integer", "number", "boolean", "text", "date"]

_WORDS: Mapping[Family, str] = {
    "integer": "int integer uint bigint smallint tinyint hugeint uhugeint ubigint uinteger usmallint utinyint long short byte",
    "number": "float floating double real number numeric decimal halffloat",
    "boolean": "bool boolean",
    "text": "str string text object varchar char character charactervarying nvarchar largestring category categorical enum uuid unicode",
    "date": "datetime timestamp date timestamptz timestamps timestampms timestampns timestampwithtimezone datetimetz"}
FAMILIES: tuple[Family, ...] = tuple(_WORDS)
_FAMILY_OF: dict[str, Family] = {word: name for name, words in _WORDS.items() for word in words.split()}


def family(kind: str) -> Family | None:
    """Return the family of a type's name, None for lists, structs and what nobody knows."""
    word = kind.strip().casefold()
    if re.search(r"[a-z)]\[\d*\]$", word):  # INTEGER[], VARCHAR[3]
        return None
    word = re.sub(r"^(?:[a-z_]+\.)+|[\[(<].*$|dtype$|type$|[_ ]", "", word)
    return _FAMILY_OF.get(word) or _FAMILY_OF.get(word.rstrip("0123456789"))
