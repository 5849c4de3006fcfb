"""Where rows come from: files, databases, scikit-learn's data and the simulated stream, as chunks of bounded size."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from nightgate.addresses import expanded, shown
from nightgate.definition.model import Source
from nightgate.errors import DataUnusable, DefinitionError

CHUNK_ROWS = 131_072
MOST_COLUMNS = 10_000
"""Wider tables are refused: every later stage works column by column."""

SHIPPED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""What scikit-learn ships, as `sklearn:NAME`; the column `target` holds class names as text, or the number."""


def read_chunks(source: Source, root: Path, *, start: datetime | None = None,
                end: datetime | None = None) -> Iterator[pa.Table]:
    """Yield a source's rows in chunks, as the source types them; text of CSV files is text throughout.

    `start` and `end` (with a time zone) bound what a query or a stream gives; files are read whole. Raises FileMissing,
    DefinitionError, DataUnusable, and SourceUnavailable for what may answer later.
    """
    seen: list[str] | None = None
    for chunk in gathered(_chunks(source, root, start, end)):
        names = named(chunk.column_names, shown(source.data))
        if seen is None:
            seen = names
        yield chunk.rename_columns(names).replace_schema_metadata(chunk.schema.metadata)
    if seen is None:
        raise DataUnusable(f"{shown(source.data)} holds no row.", remedy="Look at the source; a model needs rows.")


def _chunks(source: Source, root: Path, start: datetime | None, end: datetime | None) -> Iterator[pa.Table]:
    data = expanded(source.data)
    scheme = data.split(":", 1)[0] if ":" in data else ""
    if scheme == "sklearn":
        return shipped(data.removeprefix("sklearn:"))
    if scheme == "stream":
        from nightgate.streams import stream

        return stream(data.removeprefix("stream:"), start, end)
    from nightgate.sources import sql

    if source.query is not None or sql.is_database(data):
        return sql.read(data, source.query, root, start, end)
    from nightgate.sources.files import read_files

    return read_files(source, data, root)


def shipped(name: str) -> Iterator[pa.Table]:
    """Yield one of scikit-learn's data sets; raise DefinitionError for a name that is none."""
    if name not in SHIPPED:
        raise DefinitionError(f"source.data: scikit-learn ships no `{name}` here.",
                              remedy=f"There is {', '.join(SHIPPED)}.")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame
    if "target_names" in bunch:
        frame["target"] = [str(bunch.target_names[code]) for code in frame["target"]]
    yield pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def gathered(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put small chunks of one schema together and drop the empty ones, so that work per chunk is worth it."""
    waiting: list[pa.Table] = []
    rows = 0
    for chunk in chunks:
        if waiting and (rows + chunk.num_rows > CHUNK_ROWS or not chunk.schema.equals(waiting[0].schema)):
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
        if chunk.num_rows:
            waiting.append(chunk)
            rows += chunk.num_rows
    if waiting:
        yield pa.concat_tables(waiting)


def named(found: list[str], place: str) -> list[str]:
    """Return column names, trimmed, an empty one by its number; raise DataUnusable for names that clash."""
    names = [name.strip() or f"column_{number}" for number, name in enumerate(found, start=1)]
    if len(names) > MOST_COLUMNS:
        raise DataUnusable(f"{place} has {len(names):,} columns; at most {MOST_COLUMNS:,} are read.",
                           remedy="Leave out in the source what the model does not need.")
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(name.casefold(), []).append(name)
    clashes = [" and ".join(f"`{name}`" for name in group) for group in spellings.values() if len(group) > 1]
    if clashes:
        raise DataUnusable(f"{place} has columns that cannot be told apart: {'; '.join(clashes[:5])}"
                           f"{f' and {len(clashes) - 5} more' if len(clashes) > 5 else ''}.",
                           remedy="Give each column a name of its own; capitals alone do not count.")
    reserved = [name for name in names if name.startswith("nightgate_")]
    if reserved:
        raise DataUnusable(f"{place} has columns that begin with `nightgate_`: {', '.join(reserved[:5])}.",
                           remedy="Such names are Nightgate's own; rename them in the source.")
    return names
