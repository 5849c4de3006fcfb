"""How often inferred contracts stop clean nights, on real data."""

import os
import tempfile
from datetime import date, datetime, time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.halves import halved
from benchmarks.real_data import SETS, DataSet
from nightgate.contracts.gate import check
from nightgate.contracts.suites import Suite

NIGHTS = 200


def measure(quick: bool) -> list[Claim]:
    """Infer from one half, check nights drawn from the other half."""
    data = os.environ.get("NIGHTGATE_DATA")
    nights = 20 if quick else NIGHTS
    claims = []
    with tempfile.TemporaryDirectory() as name:
        for each in SETS if data is not None else ():
            claims += _stops(each, Path(data or ""), Path(name) / each.name, nights)
    return claims


def _stops(each: DataSet, data: Path, folder: Path, nights: int) -> list[Claim]:
    halves = halved(each, data, folder)
    suite, claims = halves.raw, []
    for rows in (500, 5_000):
        size = min(rows, int(0.8 * len(halves.other)))
        stopped = sum(not _night(halves.night(size, seed), folder, suite, halves.as_of) for seed in range(nights))
        claims.append(Claim(f"{each.name}: clean nights of {size:,} rows stopped", stopped / nights, 0.02))
        if size < rows:
            break
    return claims


def _night(rows: pa.Table, folder: Path, suite: Suite, as_of: date) -> bool:
    pq.write_table(rows, folder / "night.parquet")
    return check(suite, folder / "night.parquet", boundary="raw", now=datetime.combine(as_of, time())).success


if __name__ == "__main__":
    report(measure, __doc__ or "")
