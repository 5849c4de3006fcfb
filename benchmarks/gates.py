"""How long a gate takes and what it holds: against Great Expectations on pandas, and against DuckDB's `max()` of the columns.

Each side is a process of its own that reads one Parquet file of 20 numeric and 10 text columns and makes the same 50 checks;
its clock starts after its imports and ends with the verdict. The file has no statistics: DuckDB would answer `max()` from
these without reading a column.
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.processes import Spent, spent
from benchmarks.retraining import ROOT, table

OURS = '''
import sys, time, json
from pathlib import Path
from nightgate.contracts.gate import check
from nightgate.contracts.suites import read_suite
import duckdb
suite = read_suite(Path(sys.argv[1]))
begin = time.perf_counter()
result = check(suite, Path(sys.argv[2]), boundary="raw")
first = time.perf_counter() - begin
for _ in range(3):
    begin = time.perf_counter()
    result = check(suite, Path(sys.argv[2]), boundary="raw")
print(json.dumps({"seconds": first, "warm": time.perf_counter() - begin, "success": result.success, "checks": len(result.results)}))
'''

THEIRS = '''
import sys, time, json
import great_expectations as gx
import pandas as pd
begin = time.perf_counter()
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
told = json.load(open(sys.argv[1]))
suite = context.suites.add(gx.ExpectationSuite(**told))
batch = context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("whole")
result = batch.get_batch({"dataframe": pd.read_parquet(sys.argv[2])}).validate(suite, result_format="BASIC")
print(json.dumps({"seconds": time.perf_counter() - begin, "success": bool(result.success), "checks": len(result.results)}))
'''

MAXIMA = '''
import sys, time, json
import duckdb
names = [each for each in json.loads(sys.argv[1])]
begin = time.perf_counter()
with duckdb.connect() as connection:
    connection.execute(f"SELECT {', '.join(f'max({name})' for name in names)} FROM read_parquet('{sys.argv[2]}')").fetchall()
print(json.dumps({"seconds": time.perf_counter() - begin}))
'''


def measure(quick: bool) -> list[Claim]:
    """Three rounds of the three sides at 1,000,000 rows, 10,000 rows in a warm process; ten million with NIGHTGATE_LONG set."""
    rows, rounds = (100_000, 1) if quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "suite.json").write_text(json.dumps(_suite()))
        claims = [*_beside(folder, _written(folder, rows), rows, rounds), _warm(folder)]
        if os.environ.get("NIGHTGATE_LONG"):
            path = _repeated(folder, _written(folder, 1_000_000), 10)
            side = _side(OURS, folder / "suite.json", path)
            claims.append(Claim("peak of a gate on 10,000,000 rows, GiB", side.peak / 2**30, 1.5))
    return claims


def _beside(folder: Path, path: Path, rows: int, rounds: int) -> Iterator[Claim]:
    """Yield the ratios of one round's sides to each other, as medians over the rounds."""
    columns = json.dumps(pq.read_schema(path).names)
    sides = [(_side(OURS, folder / "suite.json", path), _side(THEIRS, folder / "suite.json", path), _side(MAXIMA, columns, path))
             for _ in range(rounds)]
    ours, theirs, maxima = ([json.loads(each.output.splitlines()[-1]) for each in side] for side in zip(*sides, strict=True))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["success"] and other["success"] and mine["checks"] == other["checks"] == 50, (mine, other)
    told = f"50 checks, {rows:,} rows"
    print(f"# {told}: {_median(ours):.2f} s, Great Expectations {_median(theirs):.2f} s, max() {_median(maxima):.2f} s; "
          f"peaks {sides[0][0].peak / 2**20:.0f} and {sides[0][1].peak / 2**20:.0f} MiB")
    yield Claim(f"time of Great Expectations / of the gate, {told}",
                statistics.median(other["seconds"] / mine["seconds"] for mine, other in zip(ours, theirs, strict=True)), 3.0, at_least=True)
    yield Claim(f"time of the gate / of DuckDB's max(), {told}",
                statistics.median(mine["seconds"] / other["seconds"] for mine, other in zip(ours, maxima, strict=True)), 2.0)
    yield Claim(f"peak memory of the gate / of Great Expectations, {told}",
                statistics.median(mine.peak / other.peak for mine, other, _ in sides), 0.5)


def _warm(folder: Path) -> Claim:
    side = _side(OURS, folder / "suite.json", _written(folder, 10_000))
    return Claim("seconds of a gate on 10,000 rows in a warm process", json.loads(side.output)["warm"], 0.15)


def _median(side: list[dict[str, Any]]) -> float:
    return statistics.median(float(each["seconds"]) for each in side)


def _side(script: str, *arguments: object) -> Spent:
    return spent([sys.executable, "-c", script, *map(str, arguments)], folder=ROOT)


def _written(folder: Path, rows: int) -> Path:
    path = folder / f"{rows}.parquet"
    pq.write_table(pa.Table.from_pandas(table(rows).drop(columns="target")), path, write_statistics=False, row_group_size=131_072)
    return path


def _repeated(folder: Path, path: Path, times: int) -> Path:
    """Write a file's rows so many times, one file's rows after the other."""
    whole, many = pq.read_table(path), folder / "many.parquet"
    with pq.ParquetWriter(many, whole.schema, write_statistics=False) as writer:
        for _ in range(times):
            writer.write_table(whole, row_group_size=131_072)
    return many


def _suite() -> dict[str, Any]:
    numbers, texts = [f"n{number:02}" for number in range(20)], [f"c{number:02}" for number in range(10)]
    levels = [f"level {number:02}" for number in range(21)]
    kinds = [*(("column_values_to_be_between", {"column": name, "min_value": -6, "max_value": 6}) for name in numbers),
             *(("column_values_to_not_be_null", {"column": name, "mostly": 0.95}) for name in numbers[:8]),
             *(("column_mean_to_be_between", {"column": name, "min_value": -0.1, "max_value": 0.1}) for name in numbers[:4]),
             ("column_stdev_to_be_between", {"column": "n00", "min_value": 0.9, "max_value": 1.1}),
             *(("column_values_to_be_in_set", {"column": name, "value_set": levels}) for name in texts),
             *(("column_values_to_match_regex", {"column": name, "regex": "^level [0-9]{2}$"}) for name in texts[:5]),
             ("column_unique_value_count_to_be_between", {"column": "c00", "min_value": 2, "max_value": 30}),
             ("table_row_count_to_be_between", {"min_value": 1})]
    return {"name": "fifty", "expectations": [{"type": f"expect_{kind}", "kwargs": named} for kind, named in kinds],
            "meta": {"great_expectations_version": "1.24.1"}}


if __name__ == "__main__":
    report(measure, __doc__ or "")
