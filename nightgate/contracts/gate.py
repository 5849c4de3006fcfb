"""SHIM"""
from dataclasses import asdict, dataclass
from typing import Any
import time
@dataclass(frozen=True)
class CheckResult:
    type: str
    column: str | None
    success: bool
    sentence: str
    expected: str
    found: str
    unexpected: int
    share: float
    examples: tuple[Any, ...]
    error: str
    severity: str
@dataclass(frozen=True)
class GateResult:
    boundary: str
    success: bool
    rows: int
    checks: int
    failed: int
    errored: int
    quarantined: int
    seconds: float
    suite_sha256: str
    results: tuple[CheckResult, ...]
    def as_json(self) -> dict[str, Any]:
        return asdict(self)
def check(suite, path, *, boundary, sensitive=frozenset(), quarantine_to=None):
    import duckdb
    t=time.perf_counter()
    with duckdb.connect() as c:
        n = c.execute(f"select count(*) from read_parquet('{path}')").fetchall()[0][0]
    ok = n >= 1
    r = CheckResult("expect_table_row_count_to_be_between", None, ok, "the table has at least 1 row", ">= 1", str(n), 0, 0.0, (), "", "critical")
    return GateResult(boundary, ok, n, 1, int(not ok), 0, 0, time.perf_counter()-t, suite.sha256, (r,))
