"""How often inferred contracts stop clean nights, on real data."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.real_data import SETS, DataSet
from nightgate.contracts.gate import check
from nightgate.contracts.inference import infer_raw
from nightgate.contracts.suites import parse_suite
from nightgate.definition.model import Definition
from nightgate.settings import Settings
from nightgate.snapshots import collect

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
    from datetime import UTC, datetime

    folder.mkdir()
    settings = Settings(folder, str(folder / "store"), f"sqlite:///{folder / 'r.db'}", folder / "keys.json")
    source = {"data": str(data / each.file)}
    definition = Definition.model_validate({"name": "m", "task": "regression", "target": each.target, "source": source})
    dataset = collect(definition, settings, as_of=datetime.now(UTC).date()).dataset
    whole = pq.read_table(dataset.uri)
    order = np.random.default_rng(0).permutation(whole.num_rows)
    half = whole.num_rows // 2
    pq.write_table(whole.take(np.sort(order[:half])), folder / "half.parquet")
    suite = parse_suite(infer_raw(folder / "half.parquet", definition, dataset.columns), place="raw")
    claims = []
    for rows in (500, 5_000):
        size = min(rows, int(0.8 * half))
        stopped = sum(not _night(whole, order[half:], size, seed, folder, suite) for seed in range(nights))
        claims.append(Claim(f"{each.name}: clean nights of {size:,} rows stopped", stopped / nights, 0.02))
        if size < rows:
            break
    return claims


def _night(whole: object, rows: np.ndarray, size: int, seed: int, folder: Path, suite: object) -> bool:
    chosen = np.random.default_rng(seed + 1).choice(rows, size, replace=False)
    pq.write_table(whole.take(np.sort(chosen)), folder / "night.parquet")  # type: ignore[attr-defined]
    return check(suite, folder / "night.parquet", boundary="raw").success  # type: ignore[arg-type]


if __name__ == "__main__":
    report(measure, __doc__ or "")
