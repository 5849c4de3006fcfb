"""Real dirty tables beside their clean ones: which rows the row rules set aside that were learnt from clean rows alone.

`NIGHTGATE_DATA` names the folder of the data sets. Rules are inferred from half of the clean rows; the other half is looked at
clean and dirty. Damage that a check of values can see is a value that the clean table has nowhere in its column.
"""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.claims import Claim, report
from benchmarks.halves import scratch
from benchmarks.real_data import data_folder
from nightgate.contracts.forms import RowRule
from nightgate.contracts.gate import check, form_of, never_seen
from nightgate.contracts.inference import infer_raw
from nightgate.contracts.opening import opened
from nightgate.contracts.suites import parse_suite
from nightgate.datasets import Column
from nightgate.definition.model import Definition
from nightgate.snapshots import collect


@dataclass(frozen=True)
class Pair:
    name: str
    ignored: tuple[str, ...]


PAIRS = (Pair("dirty_hospital", ("index",)), Pair("dirty_beers", ("index", "id")))


def measure(quick: bool) -> list[Claim]:
    data = data_folder()
    with tempfile.TemporaryDirectory() as name:
        return [claim for pair in PAIRS for claim in _set_aside(pair, data / pair.name, Path(name) / pair.name)]


def _set_aside(pair: Pair, data: Path, folder: Path) -> list[Claim]:
    folder.mkdir()
    clean, dirty = (pd.read_csv(data / f"{kind}.csv", dtype=str, keep_default_na=False) for kind in ("clean", "dirty"))
    dirty.columns = clean.columns
    clean, dirty = clean.drop(columns=list(pair.ignored)), dirty.drop(columns=list(pair.ignored))
    half = np.random.default_rng(0).permutation(len(clean))
    learnt, other = np.sort(half[: len(half) // 2]), np.sort(half[len(half) // 2:])
    columns = _columns(clean.iloc[learnt], folder)
    path = _typed(clean.iloc[learnt], columns, folder / "learnt.parquet")
    definition = Definition.model_validate({"name": "m", "task": "regression", "target": columns[-1].name, "source": {"data": "x"}})
    rules = infer_raw(path, definition, columns, as_of=date(2026, 1, 1))
    visible = np.logical_or.reduce([~dirty[name].isin(clean[name]).to_numpy() for name in clean])[other]
    against_clean = _against(rules, clean.iloc[other], columns, folder / "clean.parquet")
    against_dirty = _against(rules, dirty.iloc[other], columns, folder / "dirty.parquet")
    caught = float(against_dirty[visible].mean())
    return [Claim(f"{pair.name}: share of {visible.sum()} damaged rows set aside", caught, 0.8, at_least=True),
            Claim(f"{pair.name}: share of {len(other)} clean rows set aside", float(against_clean.mean()), 0.05)]


def _columns(frame: pd.DataFrame, folder: Path) -> tuple[Column, ...]:
    """Return the columns as a collector would type them."""
    frame.to_csv(folder / "learnt.csv", index=False)
    definition = Definition.model_validate({"name": "m", "task": "regression", "target": frame.columns[-1],
                                            "source": {"data": str(folder / "learnt.csv")}})
    return collect(definition, scratch(folder), as_of=date(2026, 1, 1)).dataset.columns


def _typed(frame: pd.DataFrame, columns: tuple[Column, ...], path: Path) -> Path:
    """Write rows with their types; a value that does not fit its column's is written as missing and noted in `misfit`."""
    arrays, misfit = {}, np.zeros(len(frame), bool)
    for column in columns:
        text = frame[column.name]
        if column.type in ("integer", "number"):
            numbers = pd.to_numeric(text.replace("", None), errors="coerce")
            misfit |= (numbers.isna() & (text != "")).to_numpy()
            arrays[column.name] = pa.array(numbers.to_numpy(float), from_pandas=True)
        else:
            arrays[column.name] = pa.array(text.where(text != "", None))
    pq.write_table(pa.table({**arrays, "misfit": misfit}), path)
    return path


def _against(suite: dict[str, object], frame: pd.DataFrame, columns: tuple[Column, ...], path: Path) -> np.ndarray:
    """Return which rows hold a value that does not fit, or are against a rule on rows that failed or that no learnt row was against: what
    a quarantine sets aside when a night is stopped."""
    read = parse_suite(suite, place="raw")
    failed = {each.place for each in check(read, _typed(frame, columns, path), boundary="raw").results if not each.success}
    with opened(path) as data:
        forms = [form_of(each, data) for each in read.checks if each.place in failed or (failed and never_seen(each))]
        tests = ["misfit", *(f"coalesce({form.where}, FALSE)" for form in forms if isinstance(form, RowRule))]
        found = data.connection.execute(f"SELECT {' OR '.join(tests)} AS against FROM data").fetchnumpy()["against"]
    return np.asarray(found, bool)


if __name__ == "__main__":
    report(measure, __doc__ or "")
