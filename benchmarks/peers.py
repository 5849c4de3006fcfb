"""False alarms and power beside Evidently's and NannyML's defaults, each in an environment of its own, on the same simulated nights.

300 clean nights, and 20 nights of each change; 28 nights of reference. Evidently is given one night's worth of reference rows, since
its tests take seconds on more. Its preset speaks of a data set (half of the columns) and of columns: both are shown.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.claims import Claim, report
from benchmarks.monitoring import CHANGES, REFERENCE_NIGHTS
from benchmarks.worlds import IMPORTANCES, LEVELS, NAMES, Change
from nightgate.drift.policy import compare
from nightgate.drift.profile import of_file, scan
from nightgate.drift.reference import learn

SEED = 8_000
CLEAN, CHANGED = 300, 20
ENVIRONMENTS = Path.home() / ".cache" / "nightgate" / "benchmarks"
NEEDS = {"evidently": ["evidently==0.7.11", "pandas<2.3", "numpy<2.1", "scipy<1.15", "pyarrow"],
         "nannyml": ["nannyml==0.13.1", "pandas<2.3", "numpy<2", "setuptools<80", "statsmodels", "pyarrow"]}

EVIDENTLY = '''
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
folder, rows = sys.argv[1], int(sys.argv[2])
names = json.loads(sys.argv[3])
reference = pd.read_parquet(f"{folder}/reference.parquet").sample(rows, random_state=0)[names]
found = []
for _, night in pd.read_parquet(f"{folder}/nights.parquet").groupby("day", sort=True):
    metrics = Report([DataDriftPreset()]).run(night[names], reference).dict()["metrics"]
    values = {each["metric_id"].partition("column=")[2].rstrip(")").split(",")[0]: float(each["value"]) for each in metrics[1:]}
    drifted = [name for name, value in values.items() if (value < 0.05 if rows <= 1000 else value >= 0.1)]
    assert len(drifted) == int(metrics[0]["value"]["count"]), (drifted, metrics[0])
    found.append({"columns": drifted, "whole": metrics[0]["value"]["share"] >= 0.5})
print(json.dumps(found))
'''

NANNYML = '''
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
import nannyml
folder, rows = sys.argv[1], int(sys.argv[2])
names = json.loads(sys.argv[3])
nannyml.disable_usage_logging() if hasattr(nannyml, "disable_usage_logging") else None
made = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=rows).fit(pd.read_parquet(f"{folder}/reference.parquet")[names])
table = made.calculate(pd.read_parquet(f"{folder}/nights.parquet")[names]).filter(period="analysis").to_df()
found = [{"columns": [name for name in names if any(bool(row[(name, method, "alert")]) for method in ("jensen_shannon",))]}
         for _, row in table.iterrows()]
print(json.dumps([{**each, "whole": bool(each["columns"])} for each in found]))
'''


def measure(quick: bool) -> list[Claim]:
    """Both sizes at a wobble of 0.02; with --quick few nights of the smaller one."""
    return [claim for rows in ((1_000,) if quick else (1_000, 10_000)) for claim in _cell(rows, *((20, 4) if quick else (CLEAN, CHANGED)))]


def _cell(rows: int, clean: int, changed: int) -> Iterator[Claim]:
    nights = [Change()] * clean + [change for change in CHANGES.values() for _ in range(changed)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, rows, nights)
        ours = _ours(folder, len(nights))
        sides = {"NannyML, any column": _theirs("nannyml", NANNYML, folder, rows)}
        evidently = _theirs("evidently", EVIDENTLY, folder, rows)
        sides["Evidently, any column"] = [{**each, "whole": bool(each["columns"])} for each in evidently]
        sides["Evidently, the data set"] = [{"columns": NAMES if each["whole"] else [], "whole": each["whole"]} for each in evidently]
    mine = _told("Nightgate", rows, ours, clean, changed)
    for who, found in sides.items():
        other = _told(who, rows, found, clean, changed)
        yield Claim(f"false alarms per 100 nights less those of {who}, n = {rows:,}", mine["clean"] - other["clean"], 0.0)
        for told in CHANGES:
            yield Claim(f"power less that of {who}, {told}, n = {rows:,}", mine[told] - other[told], 0.0, at_least=True)


def _told(who: str, rows: int, found: list[dict[str, object]], clean: int, changed: int) -> Mapping[str, float]:
    """Return alarms per 100 clean nights, and the share of each change's nights whose column is named; print both."""
    shares = {"clean": 100 * sum(bool(each["whole"]) for each in found[:clean]) / clean}
    for number, (told, change) in enumerate(CHANGES.items()):
        nights = found[clean + number * changed:clean + (number + 1) * changed]
        shares[told] = sum(change.column in each["columns"] for each in nights) / changed  # type: ignore[operator]
    print(f"# n = {rows:,}, {who}: {json.dumps(shares)}", flush=True)
    return shares


def _write(folder: Path, rows: int, nights: list[Change]) -> None:
    random = np.random.default_rng([SEED, rows])
    for name, changes in (("reference", [Change()] * REFERENCE_NIGHTS), ("nights", nights)):
        days = pd.date_range("2026-01-01", periods=len(changes))
        frames = [_rows(random, rows, change).assign(day=day) for day, change in zip(days, changes, strict=True)]
        pd.concat(frames, ignore_index=True).to_parquet(folder / f"{name}.parquet")


def _rows(random: np.random.Generator, rows: int, change: Change, wobble: float = 0.02) -> pd.DataFrame:
    """Return one night of independent columns, as `benchmarks.worlds` counts them."""
    columns: dict[str, object] = {}
    for name in NAMES:
        own = change if change.column == name else Change()
        latent = wobble * random.normal() + own.shift + own.scale * random.normal(size=rows)
        lost = random.random(rows) < own.missing
        if name.startswith("n"):
            columns[name] = np.where(lost, np.nan, latent)
            continue
        level = np.searchsorted(LEVELS, latent)
        level = np.where((level != 2) & (random.random(rows) < own.more / 0.8), 2, level)
        level = np.where(random.random(rows) < own.new, 9, level)
        columns[name] = [None if gone else f"level {place}" for place, gone in zip(level, lost, strict=True)]
    return pd.DataFrame(columns)


def _ours(folder: Path, nights: int) -> list[dict[str, object]]:
    reference = learn(of_file(folder / "reference.parquet"), time="day", importances=IMPORTANCES)
    profiles = scan(of_file(folder / "nights.parquet"), reference.axes, time="day")
    assert len(profiles) == nights
    found = [compare(reference, profile, data="night") for profile in profiles.values()]
    return [{"columns": [each.column for each in table.columns if each.verdict == "alarm"], "whole": table.alarm > 0} for table in found]


def _theirs(name: str, script: str, folder: Path, rows: int) -> list[dict[str, object]]:
    python = environment_of(name)
    environment = {**os.environ, "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    command = [str(python), "-c", script, str(folder), str(rows), json.dumps(NAMES)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    answer: list[dict[str, object]] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def environment_of(name: str) -> Path:
    """Return the Python of a peer's environment, made where it is not there."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENTS / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS[name]], check=True)
    return python


if __name__ == "__main__":
    report(measure, __doc__ or "")
