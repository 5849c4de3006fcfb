"""Where scored rows go: one Parquet file, a folder with a file a window, or a SQL table whose rows name their window."""

import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from nightgate.errors import SourceUnavailable, UsageError

WINDOW = "scored_window"
"""Column of a SQL table that says which window a row belongs to."""

ROWS = 10_000
"""Rows of one statement."""


@dataclass(frozen=True)
class FileOutput:
    """A Parquet file that is replaced whole."""

    path: Path
    window: str

    def __str__(self) -> str:
        return str(self.path)

    def put(self, scored: Path) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            shutil.move(scored, partial)
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class TableOutput:
    """A table of a database, in which the rows of a window are replaced in one transaction."""

    url: str
    table: str
    window: str

    def __str__(self) -> str:
        from nightgate.addresses import shown

        return f"{shown(self.url)}#{self.table}"

    def put(self, scored: Path) -> None:
        """Replace the window's rows. Raises SourceUnavailable when the database does not take them: nothing has changed then."""
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError

        with pq.ParquetFile(scored, pre_buffer=False) as file:
            columns = [sqlalchemy.Column(WINDOW, sqlalchemy.String(200), index=True),
                       *(sqlalchemy.Column(field.name, _kind(field.type)) for field in file.schema_arrow)]
            table = sqlalchemy.Table(self.table, sqlalchemy.MetaData(), *columns)
            engine = sqlalchemy.create_engine(self.url)
            try:
                table.create(engine, checkfirst=True)
                with engine.begin() as connection:
                    connection.execute(table.delete().where(table.c[WINDOW] == self.window))
                    for batch in file.iter_batches(ROWS):
                        rows = [{WINDOW: self.window, **row} for row in batch.to_pylist()]
                        connection.execute(table.insert(), rows)
            except SQLAlchemyError as error:
                raise SourceUnavailable(f"{self} does not take the scored rows: {type(error).__name__}.",
                                        remedy="Look at the database; nothing of this window was changed.") from None
            finally:
                engine.dispose()


Destination = FileOutput | TableOutput


def destination_of(root: Path, output: str | Path, window: str) -> Destination:
    """Return where rows of a window go. Raises UsageError for a database without a table."""
    from nightgate.addresses import expanded

    text = expanded(str(output))
    if "://" in text:
        url, _, table = text.partition("#")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", table):
            raise UsageError("A database needs the name of a table behind it.", remedy="Write it as in postgresql://host/db#scores.")
        return TableOutput(url, table, window)
    path = Path(root, text)
    if text.endswith("/") or path.is_dir():
        path = path / f"window={quote(window, safe='')}" / "scored.parquet"
    return FileOutput(path, window)


def _kind(kind: pa.DataType) -> Any:
    import sqlalchemy

    if pa.types.is_integer(kind):
        return sqlalchemy.BigInteger
    if pa.types.is_floating(kind):
        return sqlalchemy.Double
    if pa.types.is_boolean(kind):
        return sqlalchemy.Boolean
    return sqlalchemy.DateTime if pa.types.is_timestamp(kind) else sqlalchemy.Text
