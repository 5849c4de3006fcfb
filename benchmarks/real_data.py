"""Real data from their files, with nothing but `nightgate new` and `nightgate run`, against reference figures.

`NIGHTGATE_DATA` names the folder of the data sets. A reference is the better of a linear model and histogram boosting under
5-fold cross-validation, or in the order of time where the rows have a time. A figure holds when it is not worse than its
reference by more than two of its own bootstrap standard errors.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims import Claim, report
from benchmarks.retraining import ROOT


@dataclass(frozen=True)
class DataSet:
    """A file, what is predicted, and the reference figure."""

    name: str
    file: str
    target: str
    metric: str
    reference: float
    time: str | None = None
    exclude: tuple[str, ...] = ()


SETS = (
    DataSet("german_credit", "german_credit/german.csv", "column_21", "auc", 0.7911),
    DataSet("telco_churn", "telco_churn/Telco-Customer-Churn.csv", "Churn", "auc", 0.8453),
    # of distinct rows, as a run sees them: with 240 and 937 duplicates on both sides of a split it is 0.608 and 0.646
    DataSet("wine_red", "wine_quality/winequality-red.csv", "quality", "rmse", 0.665),
    DataSet("wine_white", "wine_quality/winequality-white.csv", "quality", "rmse", 0.714),
    DataSet("ai4i2020", "ai4i2020/ai4i2020.csv", "Machine failure", "auc", 0.9753),
    DataSet("taiwan_default", "taiwan_default/UCI_Credit_Card.csv", "default.payment.next.month", "auc", 0.7815),
    DataSet("california_housing", "california_housing/housing.csv", "median_house_value", "rmse", 47_998.0),
    DataSet("diamonds", "diamonds/diamonds.csv.gz", "price", "rmse", 551.5),
    DataSet("adult", "adult/adult.data", "column_15", "auc", 0.927),
    DataSet("bike_sharing", "bike_sharing/hour.csv", "cnt", "rmse", 70.47, time="dteday", exclude=("casual", "registered", "instant")),
)


def data_folder() -> Path:
    """Return the folder of the data sets; end with a word where none is named: a claim that was not measured does not hold."""
    data = os.environ.get("NIGHTGATE_DATA")
    if data is None:
        raise SystemExit("NIGHTGATE_DATA names no folder of data sets.")
    return Path(data)


def measure(quick: bool) -> list[Claim]:
    """Run every set, the first two for a quick look."""
    data = data_folder()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        for part in ("flows", "tasks"):
            (project / part).symlink_to(ROOT / part)
        (project / "models").mkdir()
        (project / "pyproject.toml").write_text("")
        return [_claim(project, data, each) for each in SETS[: 2 if quick else None]]


def _claim(project: Path, data: Path, each: DataSet) -> Claim:
    made = _nightgate(project, "new", each.name, "--data", str(data / each.file), "--target", each.target)
    record = _nightgate(project, "run", each.name)
    figure = record["metrics"]["challenger"][each.metric]
    error = (figure["high"] - figure["low"]) / (2 * 1.96)
    worse = (figure["value"] - each.reference) * (1 if each.metric == "rmse" else -1) / error
    chosen = next(candidate["name"] for candidate in record["candidates"] if candidate["chosen"])
    print(f"| {each.name} | {record['dataset']['rows']:,} | {each.metric} | {each.reference:g} | {figure['value']:.4g} | "
          f"{figure['low']:.4g} to {figure['high']:.4g} | {chosen} | {', '.join(made['excluded']) or '–'} | {record['verdict']} | "
          f"{sum(record['seconds'].values()):.0f} |", file=sys.stderr)
    return Claim(f"{each.name}: standard errors below the reference", worse, 2.0)


def _nightgate(project: Path, *words: str) -> Any:
    ended = subprocess.run([sys.executable, "-m", "nightgate", *words, "--json"], cwd=project, capture_output=True, text=True,
                           env={**os.environ, "PREFECT_HOME": str(project / "prefect")}, check=False)
    return json.loads(ended.stdout)


if __name__ == "__main__":
    report(measure, __doc__ or "")
