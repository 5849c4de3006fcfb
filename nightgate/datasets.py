"""What passes between stages: references to immutable tables, never frames."""

from dataclasses import dataclass
from typing import Any, Literal

ColumnType = Literal["integer", "number", "boolean", "text", "date"]
"""The five families of values; `date` is a point in time, naive in the model's time zone."""

ROW = "nightgate_row"
"""Feature-table column, uint64: identity of the row (entity and event time, else the whole row without target)."""

GROUP = "nightgate_group"
"""Feature-table column, uint64: rows that must stay on one side of every split (the entity, else the row)."""


@dataclass(frozen=True)
class Column:
    name: str
    type: ColumnType


@dataclass(frozen=True)
class Dataset:
    """One Parquet file in the store, named by its content."""

    uri: str
    sha256: str
    rows: int
    columns: tuple[Column, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Dataset":
        return cls(value["uri"], value["sha256"], value["rows"], tuple(Column(**column) for column in value["columns"]))

    @property
    def types(self) -> dict[str, ColumnType]:
        return {column.name: column.type for column in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)
