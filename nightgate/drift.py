"""Drift between a reference and a current sample, column by column: significant, and large enough to matter."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from nightgate.errors import DataUnusable

LEVEL = 0.0002
"""Chance of a false alarm of a whole table, shared out among its columns (Bonferroni)."""

FLOOR = 0.05
"""Distance below which a change does not matter, however significant."""

FEWEST_ROWS = 100
SAMPLE = 100_000
MOST_CATEGORIES = 200


@dataclass(frozen=True)
class ColumnDrift:
    """One column. `distance`: Kolmogorov-Smirnov, or the largest change of a category's share; missing counts as one."""

    column: str
    verdict: str
    distance: float
    limit: float
    why: str


@dataclass(frozen=True)
class TableDrift:
    """What a comparison found; `alarm` and `watch` count columns."""

    data: str
    rows: int
    columns: Sequence[ColumnDrift]

    @property
    def alarm(self) -> int:
        return sum(each.verdict == "alarm" for each in self.columns)

    @property
    def watch(self) -> int:
        return sum(each.verdict == "watch" for each in self.columns)

    def as_json(self) -> dict[str, Any]:
        columns = {each.column: {key: value for key, value in asdict(each).items() if key != "column"} for each in self.columns}
        return {"data": self.data, "alarm": self.alarm, "watch": self.watch, "calibrated": False, "rows": self.rows, "columns": columns}


def compare(reference: pd.DataFrame, current: pd.DataFrame, *, data: str, leave_out: Iterable[str] = ()) -> TableDrift:
    """Compare two tables. Fewer than `FEWEST_ROWS` rows decide nothing and are never shown as fine."""
    names = [str(name) for name in dict.fromkeys([*reference.columns, *current.columns]) if name not in set(leave_out)]
    level = LEVEL / max(2 * len(names), 1)  # of a column of numbers both the values and the gaps are tested
    return TableDrift(data, len(current), [_column(name, reference, current, level) for name in names])


def read(path: Path) -> pd.DataFrame:
    """Read a Parquet or CSV file. Raises DataUnusable."""
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise DataUnusable(f"{path.name} cannot be read: {str(error).splitlines()[0][:200]}", remedy="Look at the file.") from None


def _column(name: str, reference: pd.DataFrame, current: pd.DataFrame, level: float) -> ColumnDrift:
    if name not in current:
        return ColumnDrift(name, "alarm", 1.0, 0.0, "the column is gone")
    if name not in reference:
        return ColumnDrift(name, "watch", 0.0, 0.0, "the column is new")
    before, after = reference[name], current[name]
    if min(len(before), len(after)) < FEWEST_ROWS:
        return ColumnDrift(name, "undecided", 0.0, 0.0, f"fewer than {FEWEST_ROWS} rows")
    numbers = pd.api.types.is_numeric_dtype(before) and not pd.api.types.is_bool_dtype(before)
    if numbers and not pd.api.types.is_numeric_dtype(after):
        return ColumnDrift(name, "alarm", 1.0, 0.0, f"its type was {before.dtype}, now {after.dtype}")
    if numbers and before.dropna().nunique() > 10:
        return _numbers(name, before, after, level)
    return _shares(name, before, after, level)


def _numbers(name: str, before: pd.Series, after: pd.Series, level: float) -> ColumnDrift:
    first, second = (_spread(np.asarray(column.dropna(), dtype=float)) for column in (before, after))
    gaps = _shares(name, before.isna(), after.isna(), level)
    if gaps.verdict == "alarm":
        return replace(gaps, why=f"missing in {after.isna().mean():.1%}, before {before.isna().mean():.1%}")
    if not len(first) or not len(second):
        return ColumnDrift(name, "undecided", 0.0, FLOOR, "no values to compare")
    test = ks_2samp(first, second, method="asymp")
    return _judged(name, float(test.statistic), float(test.pvalue), level, f"median {np.median(second):.4g}, before {np.median(first):.4g}")


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return at most `SAMPLE` values from all over a column: the first ones may be its oldest."""
    return values[::-(-len(values) // SAMPLE) or 1]


def _shares(name: str, before: pd.Series, after: pd.Series, level: float) -> ColumnDrift:
    first, second = (column.astype("string").fillna("(missing)").value_counts() for column in (before, after))
    kept = first.index.union(second.index)
    if len(kept) > MOST_CATEGORIES:
        return ColumnDrift(name, "undecided", 0.0, FLOOR, f"{len(kept):,} different values")
    counts = pd.DataFrame({"before": first, "after": second}, index=kept).fillna(0).astype("float64")
    change = counts["after"] / counts["after"].sum() - counts["before"] / counts["before"].sum()
    worst = str(change.abs().idxmax())
    chance = 1.0 if len(counts) < 2 else float(chi2_contingency(counts.T).pvalue)
    return _judged(name, float(change.abs().max()), chance, level, f"share of `{worst}` changed by {change[worst]:+.1%}")


def _judged(name: str, distance: float, chance: float, level: float, why: str) -> ColumnDrift:
    significant = chance < level
    verdict = "alarm" if significant and distance > FLOOR else "watch" if significant else "quiet"
    return ColumnDrift(name, verdict, distance, FLOOR, why)
