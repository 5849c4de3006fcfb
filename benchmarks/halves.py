"""A data set cut into two halves by chance: contracts are inferred from one, nights are drawn from the other."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.real_data import DataSet
from nightgate import features
from nightgate.contracts.inference import infer_features, infer_raw
from nightgate.contracts.suites import Suite, parse_suite
from nightgate.datasets import Column, Dataset
from nightgate.definition.model import Definition
from nightgate.settings import Settings
from nightgate.snapshots import collect


@dataclass(frozen=True)
class Halves:
    """What was inferred from the one half, and the rows of the other."""

    definition: Definition
    settings: Settings
    columns: tuple[Column, ...]
    as_of: date
    raw: Suite
    engineered: Suite
    one: pa.Table
    other: pa.Table

    @property
    def used(self) -> list[Column]:
        """The columns that the model uses."""
        return [column for column in self.columns if column.name not in self.definition.columns.exclude]

    def now(self, rows: pa.Table) -> datetime:
        """Return the midnight after the newest of these rows: rows drawn by chance from years have no other night of their own."""
        if self.definition.time is None:
            return datetime.combine(self.as_of, time())
        return datetime.combine(pc.max(rows[self.definition.time]).as_py().date() + timedelta(days=1), time())

    def night(self, rows: int, seed: int, *, of: pa.Table | None = None) -> pa.Table:
        """Draw rows of the other half, or of another table, without replacement, in the order of the file."""
        table = self.other if of is None else of
        return table.take(np.sort(np.random.default_rng(seed + 1).choice(len(table), rows, replace=False)))


def scratch(folder: Path) -> Settings:
    """Return settings that keep everything in a folder."""
    return Settings(folder, str(folder / "store"), f"sqlite:///{folder / 'r.db'}", folder / "keys.json")


def halved(each: DataSet, data: Path, folder: Path) -> Halves:
    """Infer the contracts of a data set's one half; the night is the first after its last event, if it has times."""
    folder.mkdir()
    settings = scratch(folder)
    definition = Definition.model_validate({"name": "m", "task": "regression", "target": each.target, "time": each.time,
                                            "source": {"data": str(data / each.file)}, "columns": {"exclude": each.exclude}})
    dataset = collect(definition, settings, as_of=datetime.now(UTC).date()).dataset
    whole = pq.read_table(dataset.uri)
    as_of = datetime.now(UTC).date() if each.time is None else pc.max(whole[each.time]).as_py().date() + timedelta(days=1)
    order = np.random.default_rng(0).permutation(whole.num_rows)
    half = whole.num_rows // 2
    pq.write_table(whole.take(np.sort(order[:half])), folder / "half.parquet")
    first = Dataset(*settings.store.put_file(folder / "half.parquet", folder="halves", suffix=".parquet"), half, dataset.columns)
    table = features.engineer(definition, settings, first)
    return Halves(definition, settings, dataset.columns, as_of,
                  parse_suite(infer_raw(Path(first.uri), definition, dataset.columns, as_of=as_of), place="raw"),
                  parse_suite(infer_features(Path(table.uri), definition, table.columns), place="features"),
                  whole.take(np.sort(order[:half])), whole.take(np.sort(order[half:])))
