"""The whole retraining flow against the script that a good data scientist writes instead.

Both read one Parquet file of 20 numeric and 10 categorical columns and try the same families with the same number of
settings: logistic regression 3, histogram boosting 4, random forest 1. The script's clock starts after its imports, the
flow's at its first stage: what both need before is stated apart.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.claims import Claim, report
from benchmarks.processes import Spent, spent

ROOT = Path(__file__).resolve().parents[1]
SEED = 20_260


def table(rows: int) -> pd.DataFrame:
    """Return the simulated data: 140 columns after one-hot encoding, 2 % missing numbers, about a fifth positive."""
    random = np.random.default_rng(SEED)
    numbers = random.normal(size=(rows, 20))
    levels = random.integers(4, 21, size=10)
    codes = [random.integers(0, count, rows) for count in levels]
    effects = [random.normal(0, 0.5, count) for count in levels]
    signal = numbers[:, :8] @ random.normal(0, 0.4, 8) + 0.5 * numbers[:, 0] * numbers[:, 1] + np.abs(numbers[:, 2])
    signal += sum(effect[code] for effect, code in zip(effects[:5], codes[:5], strict=True)) - 2.2
    target = random.random(rows) < 1 / (1 + np.exp(-signal))
    numbers[random.random(numbers.shape) < 0.02] = np.nan
    columns = {f"n{number:02}": numbers[:, number] for number in range(20)}
    columns |= {f"c{number:02}": pd.Categorical.from_codes(code, [f"level {level:02}" for level in range(levels[number])])
                .astype(str) for number, code in enumerate(codes)}
    return pd.DataFrame({**columns, "target": np.where(target, "yes", "no")})


SCRIPT = '''
import sys, time, json
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
begin = time.perf_counter()
data = pd.read_parquet(sys.argv[1])
y = data.pop("target") == "yes"
train, test, y_train, y_test = train_test_split(data, y, test_size=0.2, random_state=0, stratify=y)
numeric = [c for c in data if c.startswith("n")]
categorical = [c for c in data if c.startswith("c")]
prepare = lambda: ColumnTransformer([
    ("n", Pipeline([("i", SimpleImputer(strategy="median")), ("s", StandardScaler())]), numeric),
    ("c", Pipeline([("i", SimpleImputer(strategy="most_frequent")),
                    ("e", OneHotEncoder(handle_unknown="ignore", sparse_output=False))]), categorical)])
searches = [
    (LogisticRegression(max_iter=1000), {"m__C": [0.01, 0.1, 1.0]}),
    (HistGradientBoostingClassifier(random_state=0), {"m__learning_rate": [0.05, 0.1], "m__max_leaf_nodes": [15, 31]}),
    (RandomForestClassifier(100, max_samples=0.1, random_state=0), {})]
best = None
for model, grid in searches:
    search = GridSearchCV(Pipeline([("p", prepare()), ("m", model)]), grid, cv=3, scoring="roc_auc", n_jobs=2)
    search.fit(train, y_train)
    if best is None or search.best_score_ > best.best_score_:
        best = search
print(json.dumps({"auc": roc_auc_score(y_test, best.predict_proba(test)[:, 1]), "seconds": time.perf_counter() - begin}))
'''


def measure(quick: bool) -> list[Claim]:
    """Run the pairs: five at 100,000 rows, or one at 20,000 for a quick look; one at 1,000,000 with NIGHTGATE_LONG set."""
    sizes = [(20_000, 1)] if quick else [(100_000, 5)]
    if os.environ.get("NIGHTGATE_LONG"):
        sizes.append((1_000_000, 1))
    claims = []
    for rows, pairs in sizes:
        claims += _pairs(rows, pairs)
    return claims


def _pairs(rows: int, pairs: int) -> list[Claim]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table(rows).to_parquet(folder / "table.parquet", index=False)
        (folder / "script.py").write_text(SCRIPT)
        project = _project(folder)
        times, peaks, losses = [], [], []
        for _ in range(pairs):
            script = spent([sys.executable, "script.py", "table.parquet"], folder=folder)
            flow = _flow(project)
            theirs, record = json.loads(script.output.splitlines()[-1]), json.loads(flow.output)
            ours = sum(record["seconds"].values())
            times.append(ours / theirs["seconds"])
            peaks.append(flow.peak / script.peak)
            losses.append(theirs["auc"] - record["metrics"]["challenger"]["auc"]["value"])
            print(f"# {rows:,} rows: script {theirs['seconds']:.1f} s of {script.seconds:.1f} s, {script.peak >> 20} MiB, AUC "
                  f"{theirs['auc']:.4f}; flow {ours:.1f} s of {flow.seconds:.1f} s, {flow.peak >> 20} MiB, AUC "
                  f"{record['metrics']['challenger']['auc']['value']:.4f}; "
                  + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in record["seconds"].items() if seconds >= 0.1),
                  file=sys.stderr)
    return [Claim(f"time of the flow / of the script, {rows:,} rows", statistics.median(times), 1.0),
            Claim(f"peak memory of the flow / of the script, {rows:,} rows", statistics.median(peaks), 1.1),
            Claim(f"AUC that the flow loses, {rows:,} rows", statistics.median(losses), 0.001)]


def _project(folder: Path) -> Path:
    project = folder / "project"
    for part in ("flows", "tasks"):
        (project / part).parent.mkdir(parents=True, exist_ok=True)
        (project / part).symlink_to(ROOT / part)
    (project / "models").mkdir()
    (project / "pyproject.toml").write_text("")
    spent([sys.executable, "-m", "nightgate", "new", "simulated", "--data", str(folder / "table.parquet"), "--target", "target"],
          folder=project)
    return project


def _flow(project: Path) -> Spent:
    environment = {**os.environ, "PREFECT_HOME": str(project / "prefect")}
    return spent([sys.executable, "-m", "nightgate", "run", "simulated", "--json"], folder=project, environment=environment)


if __name__ == "__main__":
    report(measure, __doc__ or "")
