"""Databases: one query by SQLAlchemy URL, read by a server-side cursor in chunks."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nightgate.addresses import shown, without_secrets
from nightgate.errors import DataUnusable, DefinitionError, FileMissing, NightgateError, SourceUnavailable
from nightgate.sources import CHUNK_ROWS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import SQLAlchemyError

DIALECTS = frozenset({"postgresql", "postgres", "mysql", "mariadb", "sqlite", "mssql", "oracle", "duckdb", "snowflake",
                      "bigquery", "redshift", "databricks", "trino", "clickhouse", "cockroachdb"})
EARLIEST = datetime(1900, 1, 1)
LATEST = datetime(2999, 1, 1)
"""What `:start` and `:end` are when a window has no such bound."""

_NOT_THERE = ("no such table", "no such column", "syntax error", "incomplete input")
"""SQLite says these as an operational error; they are the query's."""


def is_database(data: str) -> bool:
    return "://" in data and data.split("://", 1)[0].split("+", 1)[0] in DIALECTS


def read(url: str, query: str | None, root: Path, start: datetime | None, end: datetime | None) -> Iterator[pa.Table]:
    """Yield a query's rows; `:start` and `:end` are bound as naive times in the model's time zone.

    Raises DefinitionError for a query that the database refuses, DataUnusable for values that it cannot compute or that
    no column holds, SourceUnavailable when it does not answer or stops half way.
    """
    if query is None:
        raise DefinitionError(f"source.query is missing: {shown(url)} is a database.",
                              remedy="Give the SELECT, with `:start` and `:end` where the window belongs.")
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = _engine(url, root)
        with engine.connect().execution_options(stream_results=True, yield_per=CHUNK_ROWS) as connection:
            yield from _selected(connection, query, start, end)
    except SQLAlchemyError as error:
        raise _told(error, url) from None


def _engine(url: str, root: Path) -> "Engine":
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite" and address.database not in (None, "", ":memory:"):
            path = root / str(address.database)
            if not path.is_file():  # SQLite would make an empty one
                raise FileMissing(f"There is no database at {path}.", remedy="Check `--data`, or `data` under [source].")
            address = address.set(database=str(path))
        return create_engine(address, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise DefinitionError(f"source.data: {shown(url)} cannot be used: {without_secrets(str(error), url)}.",
                              remedy="Write it as dialect+driver://user:password@host/database and install the driver."
                              ) from None


def _selected(connection: "Connection", query: str, start: datetime | None, end: datetime | None) -> Iterator[pa.Table]:
    from sqlalchemy import text

    dialect = connection.dialect.name
    if dialect == "postgresql" and end is not None and end.tzinfo is not None:
        # zoned columns compare with naive bounds in the session's time zone
        connection.execute(text("SELECT set_config('TimeZone', :zone, false)"), {"zone": str(end.tzinfo)})
    statement = text(query)
    bounds = {"start": _naive(start) or EARLIEST, "end": _naive(end) or LATEST}
    unknown = {*statement._bindparams} - {*bounds}
    if unknown:
        raise DefinitionError(f"source.query has the unknown parameter `:{min(unknown)}`.",
                              remedy="Known are `:start` and `:end`; write a colon of the query's own as `\\:`.")
    given = {name: str(value) if dialect == "sqlite" else value for name, value in bounds.items()
             if name in statement._bindparams}
    result = connection.execute(statement, given)
    names = list(result.keys())
    for rows in result.partitions(CHUNK_ROWS):
        yield pa.table([_column(name, values) for name, values in zip(names, zip(*rows, strict=True), strict=True)],
                       names=names)


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=None)


def _column(name: str, values: tuple[Any, ...]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        if any(isinstance(value, list | dict | bytes | memoryview | timedelta) for value in values):
            raise DataUnusable(f"The query's column `{name}` holds lists, records, bytes or durations.",
                               remedy="Take it apart in the query.") from None
        return pa.array([None if value is None else str(value) for value in values])  # mixed types stay text


def _told(error: "SQLAlchemyError", url: str) -> NightgateError:
    from sqlalchemy import exc

    reason = without_secrets(str(getattr(error, "orig", None) or error), url).strip().splitlines()[0]
    if isinstance(error, exc.DataError) or "overflow" in reason:
        return DataUnusable(f"{shown(url)}: the query failed on a value: {reason}.",
                            remedy="Mend the data or the query.")
    if isinstance(error, exc.ProgrammingError | exc.NotSupportedError | exc.ArgumentError | exc.StatementError) and (
            not isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError)):
        return DefinitionError(f"{shown(url)} refuses source.query: {reason}.", remedy="Mend the query.")
    if any(sign in reason for sign in _NOT_THERE):
        return DefinitionError(f"{shown(url)} refuses source.query: {reason}.", remedy="Mend the query.")
    return SourceUnavailable(f"{shown(url)} did not answer to the end: {reason}.",
                             remedy="Nothing was written; the run is tried again.")
