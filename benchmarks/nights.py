"""How often contracts learnt from 20 nights stop the nights after them, and whether they see half of the rows gone.

Nights are drawn from one half of each data set; the contracts are learnt from 20 of them and meet 200 from the other half.
"""

import json
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.halves import Halves, halved
from benchmarks.real_data import SETS, DataSet, data_folder
from nightgate.contracts.gate import check
from nightgate.contracts.inference import infer_raw
from nightgate.contracts.learning import PastNight, learnt, pooled, smallest_of
from nightgate.contracts.limits import Limits
from nightgate.contracts.suites import Suite, parse_suite

LEARNT, NIGHTS = 20, 200


def measure(quick: bool) -> list[Claim]:
    data = data_folder()
    with tempfile.TemporaryDirectory() as name:
        return [claim for each in SETS[: 2 if quick else None]
                for claim in _stops(each, data, Path(name) / each.name, NIGHTS // 10 if quick else NIGHTS)]


def _stops(each: DataSet, data: Path, folder: Path, nights: int) -> list[Claim]:
    halves, claims = halved(each, data, folder), []
    for rows in (500, 5_000):
        size = min(rows, int(0.8 * len(halves.other)))
        suite = _learnt(halves, folder, size)
        stopped = sum(not _passes(suite, halves, folder, size, seed) for seed in range(nights))
        half = _passes(suite, halves, folder, size // 2, 0)
        claims += [Claim(f"{each.name}: nights of {size:,} rows stopped", stopped / nights, 0.01),
                   Claim(f"{each.name}: half of {size:,} rows gone passes", float(half), 0.0)]
        if size < rows:
            break
    return claims


def _learnt(halves: Halves, folder: Path, size: int) -> Suite:
    found = []
    for number in range(LEARNT):
        path = folder / f"night{number}.parquet"
        pq.write_table(halves.night(min(size, int(0.8 * len(halves.one))), number, of=halves.one), path)
        found.append(PastNight(number, path, size))
    pooled(found, folder / "pooled.parquet")
    limits = Limits.within(halves.definition.gates.nightly, len(halves.used), smallest_of(found))
    suite = infer_raw(folder / "pooled.parquet", halves.definition, halves.columns, as_of=halves.as_of, limits=limits)
    return parse_suite(json.loads(json.dumps(learnt(suite, found, limits))), place="raw")


def _passes(suite: Suite, halves: Halves, folder: Path, rows: int, seed: int) -> bool:
    night = halves.night(rows, 10_000 + seed)
    pq.write_table(night, folder / "night.parquet")
    return check(suite, folder / "night.parquet", boundary="raw", now=halves.now(night)).success


if __name__ == "__main__":
    report(measure, __doc__ or "")
