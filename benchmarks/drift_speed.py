"""Comparing 1,000,000 × 30 rows with a reference: time against decoding the same Parquet columns, against Evidently's preset, memory.

20 columns of numbers, 10 of texts. Each side is a process of its own, its clock from after its imports; ours begins with reading the
stored reference and ends with the verdicts. Decoding reads every column as it is written, in the batches that ours reads.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.peers import environment_of
from benchmarks.processes import Spent, spent
from benchmarks.retraining import ROOT, table
from nightgate.drift.profile import BATCH, of_file
from nightgate.drift.reference import learn

OURS = '''
import sys, time, json
from pathlib import Path
from nightgate.drift.policy import compare
from nightgate.drift.profile import of_file, scan
from nightgate.drift.reference import Reference
begin = time.perf_counter()
reference = Reference.from_bytes(Path(sys.argv[1]).read_bytes())
found = compare(reference, scan(of_file(Path(sys.argv[2])), reference.axes)[0], data="x")
print(json.dumps({"seconds": time.perf_counter() - begin, "columns": len(found.columns)}))
'''

DECODING = '''
import sys, time, json
import pyarrow.parquet as pq
begin = time.perf_counter()
with pq.ParquetFile(sys.argv[2], pre_buffer=False) as file:
    columns = [len(batch.columns) for batch in file.iter_batches(int(sys.argv[3]))][0]
print(json.dumps({"seconds": time.perf_counter() - begin, "columns": columns}))
'''

EVIDENTLY = '''
import sys, time, json, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
begin = time.perf_counter()
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
made = Report([DataDriftPreset()]).run(current, reference).dict()
print(json.dumps({"seconds": time.perf_counter() - begin, "columns": len(made["metrics"]) - 1}))
'''


def measure(quick: bool) -> list[Claim]:
    """Three rounds of ours and of decoding, one of Evidently."""
    rows, rounds = (100_000, 1) if quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = pa.Table.from_pandas(table(2 * rows).drop(columns="target"))
        for number, path in enumerate((folder / "reference.parquet", folder / "current.parquet")):
            pq.write_table(whole.slice(number * rows, rows), path, row_group_size=131_072)
        del whole
        (folder / "profile").write_bytes(learn(of_file(folder / "reference.parquet")).to_bytes())
        size = (folder / "profile").stat().st_size
        pairs = [(_side(sys.executable, OURS, folder / "profile", folder / "current.parquet"),
                  _side(sys.executable, DECODING, "-", folder / "current.parquet", BATCH)) for _ in range(rounds)]
        other = _side(str(environment_of("evidently")), EVIDENTLY, folder / "reference.parquet", folder / "current.parquet")
    ours = statistics.median(_seconds(mine) for mine, _ in pairs)
    decoding = statistics.median(_seconds(one) for _, one in pairs)
    print(f"# {rows:,} rows: {ours:.2f} s, decoding {decoding:.2f} s, Evidently {_seconds(other):.1f} s and {other.peak / 2**20:,.0f} MiB; "
          f"the reference takes {size / 1024:,.0f} KiB")
    return [Claim("time of comparing / of decoding", statistics.median(_seconds(mine) / _seconds(one) for mine, one in pairs), 2.0),
            Claim("time of Evidently's preset / of comparing", _seconds(other) / ours, 50.0, at_least=True),
            Claim("peak memory of comparing, MiB", max(mine.peak for mine, _ in pairs) / 2**20, 700.0),
            Claim("size of the reference, KiB", size / 1024, 1_024.0)]


def _side(python: str, script: str, *arguments: object) -> Spent:
    return spent([python, "-c", script, *map(str, arguments)], folder=ROOT)


def _seconds(side: Spent) -> float:
    return float(json.loads(side.output.splitlines()[-1])["seconds"])


if __name__ == "__main__":
    report(measure, __doc__ or "")
