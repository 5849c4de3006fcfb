"""A spool: tables put aside in order, in memory while they are small together, each in a file of its own afterwards."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from nightgate.errors import StoreError
from nightgate.store import Store

MEMORY = 1 << 30
"""Bytes kept in memory before further tables go to disk."""


class Spool:
    """Tables by number; files lie in `folder`, which the caller removes."""

    def __init__(self, folder: Path, *, memory: int = MEMORY) -> None:
        self.folder, self.memory = folder, memory
        self._places: list[pa.Table | Path] = []

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> pa.Table:
        place = self._places[number]
        return pa.ipc.open_file(pa.memory_map(str(place))).read_all() if isinstance(place, Path) else place

    def __iter__(self) -> Iterator[pa.Table]:
        return (self[number] for number in range(len(self)))

    def append(self, table: pa.Table) -> None:
        self._places.append(self._placed(table, len(self)))

    def replace(self, number: int, table: pa.Table) -> None:
        """Put a table in another's place."""
        place = self._places[number]
        if not isinstance(place, Path):
            self.memory += place.nbytes
        self._places[number] = self._placed(table, number)

    def _placed(self, table: pa.Table, number: int) -> pa.Table | Path:
        if table.nbytes <= self.memory:
            self.memory -= table.nbytes
            return table
        path = self.folder / f"{number}-{table.num_columns}.arrow"
        partial = path.with_suffix(".partial")  # a file that is mapped is not written over
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        partial.replace(path)
        return path


@contextlib.contextmanager
def working_folder(store: Store) -> Iterator[Path]:
    """Give a folder beside the store that is gone afterwards; raise StoreError for what its disk refuses."""
    base = store.folder("work")
    try:
        with tempfile.TemporaryDirectory(dir=base) as folder:
            yield Path(folder)
    except OSError as error:
        raise StoreError(f"{base} cannot be written: {error.strerror or error}.",
                         remedy="Free some disk space, or set NIGHTGATE_STORE to a disk that has it; nothing was half "
                                "written.") from error
