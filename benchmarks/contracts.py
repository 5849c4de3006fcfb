"""How often inferred contracts stop clean nights, on real data."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.halves import Halves, halved
from benchmarks.real_data import SETS, DataSet, data_folder
from nightgate import features
from nightgate.contracts.gate import check
from nightgate.datasets import Dataset

NIGHTS = 200


def measure(quick: bool) -> list[Claim]:
    """Infer from one half, check nights drawn from the other half."""
    data, nights = data_folder(), 20 if quick else NIGHTS
    with tempfile.TemporaryDirectory() as name:
        return [claim for each in SETS for claim in _stops(each, data, Path(name) / each.name, nights)]


def _stops(each: DataSet, data: Path, folder: Path, nights: int) -> list[Claim]:
    halves = halved(each, data, folder)
    claims = []
    for rows in (500, 5_000):
        size = min(rows, int(0.8 * len(halves.other)))
        stopped = sum(not _passes(halves, halves.night(size, seed), folder) for seed in range(nights))
        claims.append(Claim(f"{each.name}: clean nights of {size:,} rows stopped", stopped / nights, 0.02))
        if size < rows:
            break
    return claims


def _passes(halves: Halves, rows: pa.Table, folder: Path) -> bool:
    """Return whether rows pass the raw contract, and what is made of them that of the features."""
    path, now = folder / "night.parquet", halves.now(rows)
    pq.write_table(rows, path)
    night = Dataset(*halves.settings.store.put_file(path, folder="nights", suffix=".parquet"), len(rows), halves.columns)
    if not check(halves.raw, Path(night.uri), boundary="raw", now=now).success:
        return False
    table = features.engineer(halves.definition, halves.settings, night)
    return check(halves.engineered, Path(table.uri), boundary="features", now=now).success


if __name__ == "__main__":
    report(measure, __doc__ or "")
