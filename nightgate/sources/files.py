"""Files: CSV and Parquet, one, a folder or a glob, on this machine or behind any fsspec URL."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from nightgate.addresses import shown
from nightgate.definition.model import Source
from nightgate.errors import DataUnusable, DefinitionError, FileMissing, NightgateError, SourceUnavailable
from nightgate.sources import CHUNK_ROWS
from nightgate.sources.delimited import read_delimited

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PARQUET = b"PAR1"
_PART = re.compile(r"([^/=]+)=([^/]*)/")
PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class File:
    """One file of a source: where it is, and how an error names it."""

    system: "AbstractFileSystem"
    path: str
    place: str

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        with reached(self.place), self.system.open(self.path, "rb") as stream:
            if getattr(stream, "size", 0) is not None:
                yield stream
                return
            with tempfile.TemporaryFile() as copy:  # an answer in pieces, of unknown length, is read once only
                shutil.copyfileobj(stream, copy)
                copy.seek(0)
                yield copy

    @property
    def parts(self) -> dict[str, str]:
        """Return what the names of its folders say, as in `day=2026-01-31/part-0.parquet`."""
        return {unquote(name): unquote(value) for name, value in _PART.findall(self.place.partition("?")[0])}


def read_files(source: Source, data: str, root: Path) -> Iterator[pa.Table]:
    """Yield the rows of all files that `data` names, in the order of their names; they must have the same columns."""
    first: list[str] | None = None
    for file in found_files(data, root):
        with file.opened() as stream:
            magic = stream.read(4)
            stream.seek(0)
            chunks = _parquet(stream, file.place) if magic == PARQUET else read_delimited(stream, file.place, source)
            for chunk in chunks:
                chunk = _with_parts(chunk, file.parts)
                first = first or chunk.column_names
                yield chunk if chunk.column_names == first else _aligned(chunk, first, file.place)


def _with_parts(chunk: pa.Table, parts: dict[str, str]) -> pa.Table:
    """Append what the folders say as columns of text, where the file has no such column itself."""
    for name in [name for name in parts if name not in chunk.column_names]:
        value = None if parts[name] == _NO_VALUE else parts[name]
        chunk = chunk.append_column(name, pa.repeat(pa.scalar(value, pa.string()), chunk.num_rows))
    return chunk


def found_files(data: str, root: Path) -> list[File]:
    """Return the files behind a path, folder, glob or URL; raise FileMissing when there is none."""
    from fsspec.core import url_to_fs

    place = shown(data)
    try:
        with reached(place):
            system, path = url_to_fs(data if "://" in data else str(root / Path(data).expanduser()))
    except (ImportError, ValueError) as error:
        raise DefinitionError(f"source.data cannot be reached: {place}: {error}.",
                              remedy="Install what this kind of address needs, or correct the address.") from None
    with reached(place):
        if data.startswith(("http://", "https://")):
            paths = [path]  # whether it is there is seen when it is opened; `?` begins a query
        elif any(sign in path for sign in "*?[") and not system.exists(path):
            paths = sorted(filter(_counts, system.glob(path)))
        elif system.isdir(path):
            paths = sorted(filter(_counts, system.find(path)))
        else:
            paths = [path] if system.exists(path) else []
    local = "://" not in data
    base = str(root) + "/"
    files = [File(system, name, name.removeprefix(base) if local else shown(system.unstrip_protocol(name)))
             for name in map(str, paths)]
    if not files:
        raise FileMissing(f"There is no data at {place}.", remedy="Check `--data`, or `data` under [source]; paths start at the "
                          "project's folder.")
    return files


def _counts(path: str) -> bool:
    """Leave out what tools put beside data: hidden files, `_SUCCESS`, checksums."""
    name = path.rsplit("/", 1)[-1]
    return not name.startswith((".", "_")) and not name.endswith((".crc", ".md5", ".sha256"))


@contextlib.contextmanager
def reached(place: str) -> Iterator[None]:
    """Turn what a file system raises into an error that says what to do."""
    try:
        yield
    except NightgateError:
        raise
    except FileNotFoundError as error:
        status = getattr(error.__cause__, "status", 404)  # what fsspec says of every answer over http
        if status not in (404, 410):
            raise _unavailable(place, f"the server answered {status}") from None
        raise FileMissing(f"There is no data at {place}.", remedy="Check `--data`, or `data` under [source].") from None
    except PermissionError:
        raise DataUnusable(f"{place} may not be read by this user.", remedy="Change its rights.") from None
    except EOFError as error:
        raise cut_off(place, str(error)) from None
    except OSError as error:
        raise _unavailable(place, error.strerror or type(error).__name__) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("builtins", "pyarrow"):
            raise
        # the libraries behind http, S3 and other addresses have errors of their own
        raise _unavailable(place, shown((str(error) or type(error).__name__).splitlines()[0][:200])) from None


def _unavailable(place: str, reason: str) -> SourceUnavailable:
    return SourceUnavailable(f"{place} could not be read: {reason}.", remedy="Nothing was written; the run is tried again.")


def cut_off(place: str, reason: str) -> DataUnusable:
    return DataUnusable(f"{place} ends in the middle or is damaged: {(reason or 'no end').splitlines()[0][:200]}.",
                        remedy="Fetch or write the file again; nothing was stored.")


def _parquet(stream: IO[bytes], place: str) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    try:
        names = [field.name for field in pq.read_schema(stream) if _plain_text(field.type)]
        stream.seek(0)
        # pre_buffer grows with the file: 2.1 GB on 10 million rows, 0.5 GB without
        file = pq.ParquetFile(stream, read_dictionary=names, pre_buffer=False)
        hidden = row_numbers(file.schema_arrow)
        yield file.schema_arrow.empty_table().drop_columns(hidden)
        for batch in file.iter_batches(CHUNK_ROWS):
            yield pa.Table.from_batches([batch]).drop_columns(hidden)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise cut_off(place, str(error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise cut_off(place, str(error)) from None  # pyarrow's word for a damaged page


def row_numbers(schema: pa.Schema) -> list[str]:
    """Return the columns of a Parquet file that are none: the numbers of rows that pandas writes, and hides when it reads."""
    return [name for name in schema.names if PANDAS_INDEX.fullmatch(name)]


def _plain_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _aligned(chunk: pa.Table, first: list[str], place: str) -> pa.Table:
    """Return the chunk with the first file's order of columns; raise DataUnusable when they are not the same ones."""
    absent, extra = [*{*first} - {*chunk.column_names}], [*{*chunk.column_names} - {*first}]
    if absent or extra or len(first) != len(chunk.column_names):
        raise DataUnusable(f"{place} has other columns than the files before it: lacks {sorted(absent)[:5] or 'none'}, "
                           f"has besides {sorted(extra)[:5] or 'none'}.",
                           remedy="Give all files of a source the same columns.")
    return chunk.select(first)
