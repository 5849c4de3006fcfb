"""How often inferred contracts stop clean nights, on real data; and how long a gate takes."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.real_data import SETS, DataSet
from benchmarks.retraining import table
from nightgate.contracts.gate import check
from nightgate.contracts.inference import infer_raw
from nightgate.contracts.suites import parse_suite
from nightgate.datasets import Column
from nightgate.definition.model import Definition
from nightgate.settings import Settings
from nightgate.snapshots import collect

NIGHTS = 200


def measure(quick: bool) -> list[Claim]:
    """Infer from one half, check nights drawn from the other half; then time a gate on 1,000,000 × 30."""
    data = os.environ.get("NIGHTGATE_DATA")
    nights = 20 if quick else NIGHTS
    claims = []
    with tempfile.TemporaryDirectory() as name:
        for each in SETS if data is not None else ():
            claims += _stops(each, Path(data or ""), Path(name) / each.name, nights)
        claims.append(_speed(Path(name), 100_000 if quick else 1_000_000))
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


def _speed(folder: Path, rows: int) -> Claim:
    """Time a gate of about 50 checks against DuckDB's `max()` of the same columns."""
    import duckdb

    frame = table(rows)
    path = folder / "table.parquet"
    frame.to_parquet(path, index=False)
    columns = tuple(Column(name, "number" if name.startswith("n") else "text") for name in frame)
    definition = Definition.model_validate({"name": "m", "task": "binary", "target": "target", "positive": "yes", "source": {"data": "x"}})
    suite = parse_suite(infer_raw(path, definition, columns), place="raw")
    check(suite, path, boundary="raw")
    ratios = []
    for _ in range(3):
        begin = time.perf_counter()
        check(suite, path, boundary="raw")
        ours = time.perf_counter() - begin
        begin = time.perf_counter()
        with duckdb.connect() as connection:
            connection.execute(f"SELECT {', '.join(f'max({name})' for name in frame)} FROM read_parquet('{path}')").fetchall()
        ratios.append(ours / (time.perf_counter() - begin))
    print(f"# {len(suite.checks)} checks on {rows:,} rows: {ours:.2f} s")
    return Claim(f"time of {len(suite.checks)} checks / of DuckDB's max(), {rows:,} rows", float(np.median(ratios)), 2.0)


if __name__ == "__main__":
    report(measure, __doc__ or "")
