"""CSV: separator and header guessed, encodings, compression within bounds, and what is wrong with a file by line.

All values stay text; what they stand for is decided over all rows (`nightgate.sources.types`).
"""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa

from nightgate.definition.model import Source
from nightgate.errors import DataUnusable, DefinitionError
from nightgate.sources.types import UNTYPED
from nightgate.wording import counted

SEPARATORS = (",", ";", "\t", "|", " ")
HEAD = 1 << 20
"""Bytes from which separator and header are guessed."""

BLOCK = 1 << 24
"""Bytes parsed at a time; no row may be longer."""

FREE_UNPACKED = 1 << 26
MOST_TIMES = 200
"""Beyond 64 MB, a file may unpack to at most 200 times its size: real tables reach 5 to 50, bombs 1,000 and more."""

ZIP = b"PK\x03\x04"
MAGIC: Mapping[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda stream: pa.CompressedInputStream(stream, "zstd")}
"""What compressed files begin with, and what opens them."""


def read_delimited(stream: IO[bytes], place: str, source: Source) -> Iterator[pa.Table]:
    """Yield the rows of one CSV file as text.

    Raises DataUnusable for a file that is empty, cut off, in another encoding, or has rows of another length.
    """
    try:
        unpacked = io.BufferedReader(_Bounded(_unpacked(stream, place), _size(stream), place), HEAD)
        yield from _rows(unpacked, place, source)
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise DataUnusable(f"{place} ends in the middle or is damaged: {error}.",
                           remedy="Fetch or write the file again; nothing was stored.") from None


def _rows(stream: "io.BufferedReader[_Bounded]", place: str, source: Source) -> Iterator[pa.Table]:
    from pyarrow import csv as arrow_csv

    separator, names, skip = layout(_head(stream, place, source.encoding), source.separator, source.header)
    numbered = [str(number) for number in range(len(names))]  # names may repeat here; told later
    wrong, last = _WrongRows(), None
    try:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(column_names=numbered, block_size=BLOCK, encoding=source.encoding,
                                               use_threads=False),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True,
                                                 invalid_row_handler=wrong.note),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(numbered, pa.string()),
                                                     strings_can_be_null=False))
        for batch in reader:
            table = pa.Table.from_batches([batch]).rename_columns(names).slice(skip)
            skip, last = 0, batch
            yield table.replace_schema_metadata(UNTYPED)
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise _told(error, place, source.encoding) from None
    if wrong.count:
        raise wrong.error(place, len(names), separator)
    if last is not None and stream.raw.ends_inside_quotes(str(last.column(len(names) - 1)[-1])):
        raise DataUnusable(f"{place} ends inside a quoted value.",
                           remedy="Fetch the file again if it was cut off; else find and close the quote.")


@dataclass
class _WrongRows:
    """Rows whose number of values is not the header's."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, row: "object") -> str:
        self.count += 1
        if len(self.examples) < 3:
            try:
                number, values = getattr(row, "number", None), getattr(row, "actual_columns", 0)
            except UnicodeDecodeError:  # the row itself cannot be read
                number, values = None, "bytes that are no text"
            self.examples.append(f"line {number} has {values}" if number else f"one has {values}")
        return "skip"

    def error(self, place: str, expected: int, separator: str) -> DataUnusable:
        rows = counted(self.count, "row")
        return DataUnusable(f"{place}: {rows} with another number of values than {expected} "
                            f"(separator {separator!r}): {', '.join(self.examples)}.",
                            remedy="A single one at the end: the file was cut off, fetch it again; or a quote is never "
                                   "closed. Many: set `separator` under [source], or quote values that contain it.")


def _head(stream: "io.BufferedReader[_Bounded]", place: str, encoding: str) -> str:
    """Return the first complete lines as text without consuming them."""
    raw = stream.peek(HEAD)[:HEAD]
    if not raw.strip(b"\x00 \r\n\t\xef\xbb\xbf"):
        raise DataUnusable(f"{place} is empty.", remedy="Write the file again; a table begins with a line of names.")
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8") and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataUnusable(f"{place} is not UTF-8: it begins like UTF-16.",
                           remedy="Set `encoding = \"utf-16\"` under [source].")
    try:
        text = raw.decode(encoding, errors="replace").removeprefix("\ufeff")
    except LookupError:
        raise DefinitionError(f"source.encoding: `{encoding}` is no encoding that Python knows.",
                              remedy="Such as utf-8, cp1252, latin-1 or utf-16.") from None
    complete = text.rfind("\n") + 1 if len(raw) == HEAD else len(text)
    if not complete:
        raise DataUnusable(f"{place} has a first line longer than {HEAD >> 20} MB.",
                           remedy="A table begins with a line of names.")
    return text[:complete]


def layout(head: str, separator: str | None, header: bool | None = None) -> tuple[str, list[str], int]:
    """Return a file's separator, the names of its columns, and how many of its first lines are a header: 1 or 0.

    The separator is what cuts the first lines into the most columns, the same number in each; else a comma. Unless `header`
    says so, a first line in which a number stands above a number names nothing: its columns are `column_1`, `column_2` ….
    """
    chosen = separator or max(SEPARATORS, key=lambda each: _columns(head, each))
    lines = _lines(head, chosen)
    if not lines:  # a quote that is never closed; the parser tells
        return chosen, head.split("\n", 1)[0].split(chosen), 1
    below = lines[1] if len(lines) > 1 else lines[0]
    if header is False or (header is None and names_nothing(lines[0], below)):
        return chosen, numbered(len(lines[0])), 0
    return chosen, lines[0], 1


def names_nothing(first: Sequence[str], second: Sequence[str]) -> bool:
    """Say whether a file's first line is no header: a number stands there above a number."""
    return any(is_number(name) and is_number(value) for name, value in zip(first, second, strict=False))


def numbered(columns: int) -> list[str]:
    return [f"column_{number}" for number in range(1, columns + 1)]


def is_number(value: str) -> bool:
    """Say whether a text is a number, with a point or a comma."""
    try:
        float(value.strip().replace(",", "."))
    except ValueError:
        return False
    return True


def _columns(head: str, separator: str) -> tuple[int, int]:
    widths = {len(line) for line in _lines(head, separator)}
    return widths.pop() if len(widths) == 1 and 1 not in widths else 0, head.split("\n", 1)[0].count(separator)


def _lines(head: str, separator: str) -> list[list[str]]:
    try:
        return [line for line in itertools.islice(csv.reader(io.StringIO(head), delimiter=separator), 50) if line]
    except csv.Error:
        return []


def _told(error: Exception, place: str, encoding: str) -> DataUnusable:
    text = str(error)
    if isinstance(error, UnicodeError) or "UTF8" in text or "utf-8" in text.lower():
        return DataUnusable(f"{place} is not {encoding}{_where(text)}.",
                            remedy="Set `encoding` under [source]: most such files are \"cp1252\" (Western Windows), "
                                   "else \"latin-1\", or \"utf-16\" when every second byte is 0.")
    if "straddl" in text or "block" in text:
        return DataUnusable(f"{place} has a row longer than {BLOCK >> 20} MB.",
                            remedy="A quote that is never closed makes one row of many; find and close it.")
    return DataUnusable(f"{place} is no CSV file that can be read: {text.splitlines()[0].split(':', 1)[0]}.",
                        remedy="Look at the file; set `separator` and `encoding` under [source].")


def _where(text: str) -> str:
    """Return the place that an error names, without the values in it."""
    import re

    column = re.search(r"column #(\d+)", text)
    byte = re.search(r"byte (0x[0-9a-f]+) in position (\d+)", text)
    if byte:
        return f": byte {byte[1]} at position {byte[2]} of a block"
    return f": column {int(column[1]) + 1} holds bytes that are none" if column else ""


def _size(stream: IO[bytes]) -> int:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size


def _unpacked(stream: IO[bytes], place: str) -> IO[bytes]:
    magic = stream.read(6)
    stream.seek(0)
    if magic.startswith(ZIP):
        archive = zipfile.ZipFile(stream)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(names) != 1:
            raise DataUnusable(f"{place} holds {len(names)} files; one is expected.", remedy="Unpack it into a folder.")
        return archive.open(names[0])
    return next((opened(stream) for start, opened in MAGIC.items() if magic.startswith(start)), stream)


class _Bounded(io.RawIOBase):
    """A stream that stops what unpacks to far more than its size."""

    def __init__(self, stream: IO[bytes], size: int, place: str) -> None:
        self.stream, self.place, self.given = stream, place, 0
        self.quotes, self.tail = 0, b""
        self.limit = max(FREE_UNPACKED, size * MOST_TIMES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        content = self.stream.read(len(buffer))
        self.given += len(content)
        if self.given > self.limit:
            raise DataUnusable(f"{self.place} unpacks to more than {self.limit:,} bytes, over {MOST_TIMES} times its "
                               "size: no honest table does.", remedy="If it is one after all, unpack it yourself.")
        self.quotes += content.count(b'"')
        self.tail = content[-4:] or self.tail
        buffer[:len(content)] = content
        return len(content)

    def ends_inside_quotes(self, last_value: str) -> bool:
        """Say whether the content read stopped within a quoted value: the quotes are odd, and the last value goes on to
        the end; a single quote elsewhere, as in 5", closes with its line."""
        return self.quotes % 2 == 1 and ("\n" in last_value or not self.tail.endswith((b"\n", b"\r", b"\x00")))
