"""Small real projects: data in a file, a model made by `new`, and nights run as plain functions or as the flow."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightgate import plain, stages
from nightgate.authoring import Wanted, make
from nightgate.errors import ContractBroken
from nightgate.nights import night
from nightgate.records import RunRecord
from nightgate.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SMALL = """
[candidates.logistic]
estimator = "logistic"
search = { C = [0.1, 1.0] }
"""
"""A candidate that trains in a tenth of a second."""


def people(rows: int = 600, seed: int = 0, strength: float = 1.5) -> pd.DataFrame:
    """Return people of whom some default; `strength` says how much their columns tell."""
    random = np.random.default_rng(seed)
    income, age = random.normal(50, 10, rows), random.integers(18, 80, rows)
    city = random.choice(["Bern", "Basel", "Chur"], rows)
    signal = strength * (income - 50) / 10 + (city == "Bern") - 0.5
    default = np.where(random.random(rows) < 1 / (1 + np.exp(-signal)), "yes", "no")
    return pd.DataFrame({"income": income.round(3), "age": age, "city": city, "default": default})


def settings_of(folder: Path) -> Settings:
    """Return the settings of a project that keeps everything in its folder."""
    return Settings(folder, str(folder / ".nightgate"), f"sqlite:///{folder / '.nightgate' / 'registry.db'}", folder / ".nightgate" / "keys.json")


def copied(project: Path, folder: Path) -> Settings:
    """Copy a project, so that a test may change it; return the copy's settings."""
    shutil.copytree(project, folder)
    return settings_of(folder)


def stop_on_new_data(folder: Path, *, more_income: float = 0.0) -> Settings:
    """Make a project whose second run is stopped by a new city, and by higher incomes."""
    place = project(folder)
    run_plainly(place)
    frame = people(seed=1)
    frame["income"] += more_income
    frame.loc[:99, "city"] = "Genf"
    frame.to_csv(folder / "data.csv", index=False)
    with pytest.raises(ContractBroken):
        run_plainly(place)
    return place


def rules(place: Settings) -> list[dict[str, Any]]:
    """Return the rules of the raw contract."""
    found: list[dict[str, Any]] = json.loads((place.contracts_of("credit") / "raw.json").read_text())["expectations"]
    return found


def project(folder: Path, frame: pd.DataFrame | None = None, *, name: str = "credit", extra: str = SMALL, **wanted: object) -> Settings:
    """Make a project with one model over `data.csv`; return its settings."""
    for part in ("flows", "tasks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "models").mkdir()
    (folder / "pyproject.toml").write_text("")
    (people() if frame is None else frame).to_csv(folder / "data.csv", index=False)
    place = settings_of(folder)
    made = make(place, Wanted(name, {"data": "data.csv"}, "default", **wanted))  # type: ignore[arg-type]
    made.definition.write_text(made.definition.read_text() + extra)
    return place


def run_plainly(place: Settings, name: str = "credit", *, until: str = "conclude", **options: object) -> RunRecord | None:
    """Run one night without Prefect; end as if killed before `until`, if it is not the last stage."""
    with night(place, name, run_id=str(uuid.uuid4()), **options) as tonight:  # type: ignore[arg-type]
        decision = plain.decided(tonight, threads=1)
        return stages.conclude(tonight, decision) if until == "conclude" else None


def edit_contract(place: Settings, boundary: str, expectation: dict[str, object], name: str = "credit") -> None:
    """Put one expectation in front of a contract."""
    path = place.contracts_of(name) / f"{boundary}.json"
    suite = json.loads(path.read_text())
    suite["expectations"].insert(0, expectation)
    path.write_text(json.dumps(suite))
