"""Contracts learnt from many nights pass these, follow what they differ by, and are tighter the more there are."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightgate.contracts.gate import check
from nightgate.contracts.inference import infer_raw
from nightgate.contracts.learning import PastNight, learnt, merged, pooled, smallest_of
from nightgate.contracts.limits import Limits
from nightgate.contracts.suites import parse_suite
from nightgate.datasets import Column
from nightgate.definition.model import Definition

COLUMNS = (Column("amount", "number"), Column("city", "text"), Column("y", "text"))
DEFINITION = Definition.model_validate({"name": "m", "task": "binary", "target": "y", "positive": "yes", "source": {"data": "x"}})


def rows(seed: int, count: int = 3_000, *, wobble: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"amount": random.normal(100 + wobble * random.normal(), 10, count),
                          "city": random.choice(["Bern", "Basel", "Chur"], count, p=[0.5, 0.3, 0.2]),
                          "y": random.choice(["no", "yes"], count)})
    frame.loc[random.random(count) < 0.02 * (1 + wobble * random.random()), "amount"] = np.nan
    return frame


def suite_of(folder: Path, nights: int, *, wobble: float = 0.0) -> dict[str, Any]:
    found = []
    for seed in range(nights):
        path = folder / f"{nights}-{seed}.parquet"
        rows(seed, wobble=wobble).to_parquet(path)
        found.append(PastNight(seed + 1, path, 3_000))
    pooled(found, folder / "pooled.parquet")
    limits = Limits.within(DEFINITION.gates.nightly, 3, smallest_of(found))
    return learnt(infer_raw(folder / "pooled.parquet", DEFINITION, COLUMNS, as_of=date(2026, 1, 1), limits=limits), found, limits)


def passes(suite: dict[str, Any], frame: pd.DataFrame, folder: Path) -> bool:
    frame.to_parquet(folder / "night.parquet")
    return check(parse_suite(suite, place="raw"), folder / "night.parquet", boundary="raw").success


def rule(suite: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in suite["expectations"] if each["type"] == kind)
    return found


@pytest.mark.parametrize("wobble", [0.0, 3.0])
def test_the_nights_that_it_is_learnt_from_pass_and_so_do_others_like_them(wobble: float, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 20, wobble=wobble)
    assert [seed for seed in range(60) if not passes(suite, rows(seed, wobble=wobble), tmp_path)] == []


def test_more_nights_make_it_tighter(tmp_path: Path) -> None:
    few, many = (rule(suite_of(tmp_path, nights), "expect_column_quantile_values_to_be_between") for nights in (3, 20))
    for (low, high), (lower, higher) in zip(many["kwargs"]["quantile_ranges"]["value_ranges"],
                                            few["kwargs"]["quantile_ranges"]["value_ranges"], strict=True):
        assert lower < low < high < higher


def test_what_nights_differ_by_is_tolerated_and_written_down(tmp_path: Path) -> None:
    calm, restless = (rule(suite_of(tmp_path, 20, wobble=wobble), "expect_column_quantile_values_to_be_between") for wobble in (0.0, 3.0))
    widths = [each["kwargs"]["quantile_ranges"]["value_ranges"][1] for each in (calm, restless)]
    assert widths[1][1] - widths[1][0] > widths[0][1] - widths[0][0]
    assert restless["meta"]["nightgate"]["nights"] == 20 and "t·s" in restless["meta"]["nightgate"]["formula"]


@pytest.mark.parametrize("count", [1_500, 6_000])
def test_half_and_double_of_the_rows_are_stopped(count: int, tmp_path: Path) -> None:
    assert not passes(suite_of(tmp_path, 20), rows(99, count), tmp_path)


def test_a_smaller_budget_of_false_stops_makes_wider_limits(tmp_path: Path) -> None:
    rows(0).to_parquet(tmp_path / "data.parquet")
    thresholds = []
    for budget in ("1 per week", "1 per year"):
        definition = DEFINITION.model_copy(update={"gates": DEFINITION.gates.model_copy(update={"false_stops": budget})})
        suite = infer_raw(tmp_path / "data.parquet", definition, COLUMNS, as_of=date(2026, 1, 1))
        thresholds.append(rule(suite, "expect_column_quantile_values_to_be_between")["kwargs"]["quantile_ranges"]["value_ranges"][1])
    assert thresholds[1][0] < thresholds[0][0] and thresholds[0][1] < thresholds[1][1]


def test_what_a_person_wrote_or_accepted_stays(tmp_path: Path) -> None:
    new = suite_of(tmp_path, 3)
    old = json.loads(json.dumps(new))
    accepted = rule(old, "expect_column_values_to_be_in_set")
    accepted["kwargs"]["value_set"] = ["Bern"]
    accepted["meta"]["nightgate"]["accepted"] = [{"run": 2, "by": "ops", "at": "2026-01-01", "why": "so it is"}]
    own = {"type": "expect_column_min_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    old["expectations"].append(own)
    old["meta"]["nightgate"] |= {"quarantine": 0.05, "columns": {"amount": "number"}}

    whole = merged(old, new)

    assert own in whole["expectations"] and accepted in whole["expectations"]
    assert len(whole["expectations"]) == len(new["expectations"]) + 1
    assert whole["meta"]["nightgate"]["quarantine"] == 0.05 and whole["meta"]["nightgate"]["columns"] == {"amount": "number"}


def test_no_rule_of_a_persons_own_takes_the_place_of_another(tmp_path: Path) -> None:
    def query(condition: str) -> dict[str, Any]:
        return {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {condition}"}}

    new = suite_of(tmp_path, 3)
    learnt_query = {**query("amount < -1"), "meta": {"nightgate": {"rows": 1}}}
    new["expectations"].append(learnt_query)
    own = [query("amount < 0"), query("amount > 500"),
           *({"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "city", "value_set": [name]}} for name in ("Bern", "Chur"))]

    whole = merged({"name": "m.raw", "expectations": own, "meta": {}}, new)

    assert all(rule in whole["expectations"] for rule in (*own, learnt_query))


KINDS = {"number": lambda random, count: random.lognormal(3, 1, count),
         "integer": lambda random, count: random.integers(0, 1_000, count),
         "text": lambda random, count: random.choice(["Bern", "Basel", "Chur"], count),
         "date": lambda random, count: pd.Timestamp("2025-12-01") + pd.to_timedelta(random.integers(0, 30 * 86_400, count), unit="s")}


@settings(max_examples=12, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5), entity=st.booleans(), time=st.booleans(), seed=st.integers(0, 99))
def test_no_column_has_more_than_three_rules_of_its_own_and_none_is_said_twice(
        kinds: list[str], entity: bool, time: bool, seed: int) -> None:
    types = {f"{kind}_{place}": kind for place, kind in enumerate(kinds)} | {"y": "text"}
    types |= ({"id": "integer"} if entity else {}) | ({"when": "date"} if time else {})
    definition = DEFINITION.model_copy(update={"entity": ("id",) if entity else (), "time": "when" if time else None})

    suite = learnt_from_three_nights(types, definition, seed)

    rules = [(each["type"], json.dumps([value for name, value in each["kwargs"].items() if name.startswith("column")]))
             for each in suite["expectations"]]
    assert len(set(rules)) == len(rules)
    for name in types:
        assert len([rule for rule in suite["expectations"] if rule["kwargs"].get("column") == name]) <= 3


def learnt_from_three_nights(types: dict[str, str], definition: Definition, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    columns = tuple(Column(name, kind) for name, kind in types.items())  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as name:
        folder, nights = Path(name), []
        for run in range(1, 4):
            path = folder / f"{run}.parquet"
            pd.DataFrame({column: KINDS[kind](random, 600) for column, kind in types.items()}).to_parquet(path)
            nights.append(PastNight(run, path, 600))
        pooled(nights, folder / "pooled.parquet")
        limits = Limits.within(definition.gates.nightly, len(columns), smallest_of(nights))
        return learnt(infer_raw(folder / "pooled.parquet", definition, columns, as_of=date(2026, 1, 1), limits=limits), nights, limits)
