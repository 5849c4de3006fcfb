"""Column types: which of the five families a column's values belong to, and values turned into their family.

Values of CSV files are text at first and take the narrowest family that all of them fit. Values that a source has typed
keep their type; text among them becomes a date when every value is written as one.
"""

from dataclasses import dataclass, field
from datetime import tzinfo

import pyarrow as pa
import pyarrow.compute as pc

from nightgate.datasets import ColumnType
from nightgate.definition.model import Columns
from nightgate.errors import DataUnusable

ARROW: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string(),
    "date": pa.timestamp("us"),
}
TEXT = pa.dictionary(pa.int32(), pa.string())
UNTYPED = {b"nightgate": b"untyped"}
"""Schema metadata of a chunk whose text may stand for anything: a CSV file's."""

NARROWEST_FIRST: tuple[ColumnType, ...] = ("boolean", "integer", "number", "date")
_SPELT: dict[ColumnType, str] = {
    "boolean": r"^(?i:true|false)$",
    "integer": r"^-?(0|[1-9][0-9]{0,18})$",  # `007` is a code, not a number
    "number": r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$|^[+-]?(?i:inf|infinity)$",
    "date": r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$",
}
_BEYOND_FLOAT = r"^-?[0-9]{16,}$"
"""Whole numbers a float may round (2^53 has 16 digits): they are no `number`."""
_ZONED = r"[ T].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


@dataclass(frozen=True)
class Reading:
    """How text is read: the decimal sign, further spellings of a missing value, and the model's time zone."""

    decimal: str
    missing: tuple[str, ...]
    zone: tzinfo


def tidy(chunk: pa.Table, reading: Reading) -> pa.Table:
    """Return the chunk with text trimmed and as dictionary, blanks and spellings of missing as null, others settled.

    Raises DataUnusable for a column of lists, records or bytes.
    """
    columns = [_settled(name, chunk[name].combine_chunks(), reading) for name in chunk.column_names]
    return pa.table(dict(zip(chunk.column_names, columns, strict=True))).replace_schema_metadata(chunk.schema.metadata)


def _settled(name: str, array: pa.Array, reading: Reading) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of an empty column
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        return _settled(name, array.dictionary_decode(), reading)
    if _is_text(kind) or pa.types.is_dictionary(kind):
        return _trimmed(array if pa.types.is_dictionary(kind) else array.dictionary_encode(), reading.missing)
    if pa.types.is_floating(kind):
        array = array.cast(pa.float64())
        return pc.if_else(pc.is_nan(array), None, array) if pc.any(pc.is_nan(array)).as_py() else array
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _whole(array)
    if pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind)):
        return _moment(name, array, reading.zone)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return array
    if pa.types.is_time(kind):
        return array.cast(pa.string()).dictionary_encode()
    raise DataUnusable(f"Column `{name}` holds values of type {kind}, which no model reads.",
                       remedy="Take it apart or leave it out in the source, or name it under [privacy] drop.")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _trimmed(array: pa.DictionaryArray, missing: tuple[str, ...]) -> pa.DictionaryArray:
    values = pc.utf8_trim_whitespace(array.dictionary.cast(pa.string()))
    gone = pc.is_in(values, value_set=pa.array(["", *missing], pa.string()))
    if not pc.any(gone).as_py() and values.equals(array.dictionary.cast(pa.string())):
        return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), values)
    codes = pc.if_else(gone, None, values).dictionary_encode()  # trimming may have made two values equal
    return pa.DictionaryArray.from_arrays(codes.indices.take(array.indices), codes.dictionary)


def _whole(array: pa.Array) -> pa.Array:
    kind = array.type
    try:
        if not pa.types.is_decimal(kind) or kind.scale <= 0:
            return array.cast(pa.int64())
        return array.cast(pa.float64())
    except pa.ArrowInvalid:
        return array.cast(pa.string()).dictionary_encode()  # beyond 64 bits: as text, so that nothing is rounded


def _moment(name: str, array: pa.Array, zone: tzinfo) -> pa.Array:
    try:
        if getattr(array.type, "tz", None) is not None:
            array = array.cast(pa.timestamp("us", "UTC"), safe=False)
            return pc.local_timestamp(array.cast(pa.timestamp("us", str(zone))))
        return array.cast(pa.timestamp("us"), safe=pa.types.is_date(array.type))
    except pa.ArrowInvalid:
        raise DataUnusable(f"Column `{name}` holds a point in time beyond what a date can say.",
                           remedy="Years from 1 to 9999 are read; mend the source.") from None


def fitted(array: pa.Array, family: ColumnType, reading: Reading) -> pa.Array:
    """Return a tidy array as its family's type; a value that does not fit becomes null."""
    if pa.types.is_dictionary(array.type):
        if family == "text":
            return array
        values = array.dictionary
        if family == "integer":  # `3.0` is 3: some tools write whole numbers so as soon as one is missing
            values = pc.replace_substring_regex(values, rf"^(-?[0-9]+)[{reading.decimal}]0+$", r"\1")
        return _parsed(values, family, reading).take(array.indices)
    if array.type == ARROW[family]:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), ARROW[family] if family != "text" else TEXT)
    return _changed(array, family)


def _changed(array: pa.Array, family: ColumnType) -> pa.Array:
    """Return a typed array as another family, where that loses nothing."""
    if family == "text":
        return array.cast(pa.string()).dictionary_encode()
    if family == "number" and pa.types.is_int64(array.type):
        exact = pc.less_equal(pc.abs(array), 2**53)
        return pc.if_else(exact, array, None).cast(pa.float64())
    if family == "integer" and pa.types.is_floating(array.type):
        exact = pc.and_(pc.equal(pc.trunc(array), array), pc.less_equal(pc.abs(array), 2.0**53))
        return pc.if_else(exact, array, None).cast(pa.int64())
    if family == "boolean" and pa.types.is_int64(array.type):
        return pc.if_else(pc.is_in(array, value_set=pa.array([0, 1])), array, None).cast(pa.bool_())
    if family in ("integer", "number") and pa.types.is_boolean(array.type):
        return array.cast(ARROW[family])
    return pa.nulls(len(array), ARROW[family])


def _parsed(values: pa.Array, family: ColumnType, reading: Reading) -> pa.Array:
    if family in ("number", "integer"):
        if reading.decimal != ".":
            pointed = pc.replace_substring(values, reading.decimal, ".")
            values = pc.if_else(pc.match_substring(values, "."), None, pointed)
        values = pc.if_else(pc.match_substring_regex(values, r"^(?i:nan)$"), None, values)
    if family == "date":
        values = pc.replace_substring_regex(values, r"^([0-9]{2})\.([0-9]{2})\.([0-9]{4})", r"\3-\2-\1")
        values = pc.replace_substring_regex(values, r"(\.[0-9]{6})[0-9]+", r"\1")  # beyond microseconds
    spelt = pc.match_substring_regex(values, _SPELT[family])
    if family == "number":
        spelt = pc.and_not(spelt, pc.match_substring_regex(values, _BEYOND_FLOAT))
    values = pc.if_else(spelt, values, None)
    return _dates(values, reading.zone) if family == "date" else _cast(values, ARROW[family])


def _dates(values: pa.Array, zone: tzinfo) -> pa.Array:
    zoned = pc.match_substring_regex(values, _ZONED)
    plain = _cast(pc.if_else(zoned, None, values), pa.timestamp("us"))
    if not pc.any(zoned).as_py():
        return plain
    absolute = _cast(pc.if_else(zoned, values, None), pa.timestamp("us", "UTC"))
    return pc.coalesce(plain, pc.local_timestamp(absolute.cast(pa.timestamp("us", str(zone)))))


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:  # such as 30 February: one by one, to find it
        return pa.array([_single(value, kind) for value in values], kind)


def _single(value: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return value.cast(kind)
    except pa.ArrowInvalid:
        return None


def misfits(array: pa.Array, made: pa.Array, family: ColumnType) -> pa.Array:
    """Return the rows of a tidy array whose values its family, `made`, lost; `nan` in a column of numbers is no loss."""
    if made.null_count == array.null_count:
        return pa.array([], pa.uint64())
    lost = pc.and_(pc.is_valid(array), pc.is_null(made))
    if pa.types.is_dictionary(array.type) and family in ("integer", "number"):
        lost = pc.and_not(lost, pc.fill_null(is_missing_spelling(array.dictionary).take(array.indices), False))
    return pc.indices_nonzero(lost)


def is_missing_spelling(values: pa.Array) -> pa.Array:
    """Return where text is `nan` in any case, which a number column reads as missing."""
    return pc.match_substring_regex(values, r"^(?i:nan)$")


@dataclass
class Guess:
    """What one column's values still may be, chunk by chunk."""

    untyped: bool = False
    families: set[ColumnType] = field(default_factory=lambda: set(NARROWEST_FIRST))
    native: set[ColumnType] = field(default_factory=set)
    seen: bool = False

    def learn(self, array: pa.Array, untyped: bool, reading: Reading) -> None:
        """Narrow by one tidy array."""
        self.untyped |= untyped
        if pa.types.is_dictionary(array.type):
            # a filter leaves values in the dictionary that no row has any more
            self._narrow(array.dictionary.take(pc.unique(array.indices).drop_null()), reading)
        elif not pa.types.is_null(array.type):
            self.native.add(next(family for family, kind in ARROW.items() if kind == array.type))

    def _narrow(self, values: pa.Array, reading: Reading) -> None:
        values = values.drop_null()
        if not len(values) or pc.all(is_missing_spelling(values)).as_py():
            return
        self.seen = True
        for part in (values[:64], values):  # most families are out after a few values
            self.families = {family for family in self.families
                             if (self.untyped or family == "date") and fits(part, family, reading)}

    def family(self) -> ColumnType:
        """Return the narrowest family of all values seen; text when there was none."""
        if not self.native:
            return next((family for family in NARROWEST_FIRST if self.seen and family in self.families), "text")
        if self.native <= {"integer", "number"} and not self.seen:
            return "number" if "number" in self.native else "integer"
        return next(iter(self.native)) if len(self.native) == 1 and not self.seen else "text"


def fits(values: pa.Array, family: ColumnType, reading: Reading) -> bool:
    """Say whether every value of a text array can be read as the family, at least one really."""
    expected = len(values)
    if family in ("integer", "number"):
        expected -= pc.sum(is_missing_spelling(values)).as_py() or 0
    parsed = _parsed(values, family, reading)
    return expected > 0 and len(parsed) - parsed.null_count == expected


def declared(columns: Columns, time: str | None, arrived: str | None) -> dict[str, ColumnType]:
    """Return the types that a definition states."""
    return {**dict.fromkeys(columns.text, "text"), **dict.fromkeys(columns.date, "date"),
            **{name: "date" for name in (time, arrived) if name is not None}}


def learn(guesses: dict[str, Guess], chunk: pa.Table, known: frozenset[str], reading: Reading) -> None:
    """Narrow the guesses of all columns that are not known, by one tidy chunk."""
    untyped = (chunk.schema.metadata or {}).get(b"nightgate") == b"untyped"
    for name in chunk.column_names:
        guess = guesses.setdefault(name, Guess())
        if name not in known:
            guess.learn(chunk[name].combine_chunks(), untyped, reading)


def settle(guesses: dict[str, Guess], stated: dict[str, ColumnType], numeric: tuple[str, ...]) -> dict[str, ColumnType]:
    """Return every column's type; a column declared numeric is one even where some of its values are not."""
    found = {name: stated.get(name) or guess.family() for name, guess in guesses.items()}
    return {name: "number" if name in numeric and family not in ("integer", "number") else family
            for name, family in found.items()}

