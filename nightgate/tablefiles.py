"""Parquet files as Nightgate writes them: the same rows give the same bytes, whatever pieces they came in."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightgate.datasets import GROUP, ROW, Column
from nightgate.sources.types import ARROW

ROW_GROUP = 131_072


class TableFile:
    """A Parquet file in the making; what it holds can be asked after the `with` block."""

    def __init__(self, path: Path, columns: tuple[Column, ...]) -> None:
        self.path, self.columns = path, columns
        self.schema = pa.schema([(column.name, pa.uint64() if column.name in (ROW, GROUP) else ARROW[column.type])
                                 for column in columns])
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def __enter__(self) -> "TableFile":
        texts = [column.name for column in self.columns if column.type == "text"]
        # the schema of Arrow is left out: it would make readers see the dictionaries of whoever wrote
        self._writer = pq.ParquetWriter(str(self.path), self.schema, compression="lz4",
                                        use_dictionary=texts, store_schema=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None and self._waiting:
            self._group(self._rows)
        self._writer.close()
        if kind is None:
            self._metadata = pq.read_metadata(self.path)

    def write(self, table: pa.Table) -> None:
        """Append rows; they are written in full groups, so that the pieces they come in leave no trace."""
        self._waiting.append(table.cast(self.schema))
        self._rows += table.num_rows
        while self._rows >= ROW_GROUP:
            self._group(ROW_GROUP)

    def _group(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._writer.write_table(table.slice(0, rows), row_group_size=ROW_GROUP)
        self._rows -= rows
        self._waiting = [table.slice(rows)] if self._rows else []

    def _statistics(self) -> Iterator[tuple[str, Any]]:
        for group in range(self._metadata.num_row_groups):
            for number, column in enumerate(self.columns):
                yield column.name, self._metadata.row_group(group).column(number).statistics

    @property
    def missing(self) -> dict[str, int]:
        """Return the number of missing values of each column that has any."""
        counts: dict[str, int] = {}
        for name, statistics in self._statistics():
            if statistics is not None and statistics.null_count:
                counts[name] = counts.get(name, 0) + statistics.null_count
        return counts

    @property
    def spans(self) -> dict[str, tuple[str, str]]:
        """Return the first and last value of each date column that has any."""
        dates = {column.name for column in self.columns if column.type == "date"}
        found: dict[str, list[Any]] = {}
        for name, statistics in self._statistics():
            if name in dates and statistics is not None and statistics.has_min_max:
                found.setdefault(name, []).extend((statistics.min, statistics.max))
        return {name: (min(values).isoformat(), max(values).isoformat()) for name, values in found.items()}

    @property
    def constant(self) -> tuple[str, ...]:
        """Return the columns that hold one value or none at all."""
        values: dict[str, set[Any]] = {column.name: set() for column in self.columns}
        for name, statistics in self._statistics():
            if statistics is None or not statistics.has_min_max:
                if statistics is None or statistics.num_values:
                    values[name] |= {"unknown", name, 0}
            else:
                values[name] |= {statistics.min, statistics.max}
        return tuple(name for name, found in values.items() if len(found) < 2)
