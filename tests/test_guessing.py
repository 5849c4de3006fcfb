"""What `new` guesses from data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightgate.authoring import Made, Wanted, make
from nightgate.checking import mistakes
from nightgate.definition.loading import load_definition
from nightgate.errors import DataUnusable, UsageError
from tests.making import project
from tests.projects import people


def made(folder: Path, frame: pd.DataFrame, target: str = "y", **wanted: object) -> Made:
    (folder / "models").mkdir(exist_ok=True)
    frame.to_csv(folder / "data.csv", index=False)
    return make(project(folder), Wanted("m", {"data": "data.csv"}, target, **wanted))  # type: ignore[arg-type]


def frame(target: object, rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame({"a": random.normal(size=rows), "b": random.choice(list("uvw"), rows), "y": target})


@pytest.mark.parametrize(("values", "task", "positive"), [
    (["no", "yes"], "binary", "yes"), ([0, 1], "binary", "1"), ([1, 2, 1, 1], "binary", "2"), (["x", "y", "x"], "binary", "y"),
    ([True, False, False], "binary", "true"), (["a", "b", "c"], "multiclass", None), ([1, 2, 3], "multiclass", None)])
def test_task_and_positive_class(values: list[object], task: str, positive: str | None, tmp_path: Path) -> None:
    guesses = made(tmp_path, frame(np.resize(values, 200))).guesses

    assert (guesses.task, guesses.positive) == (task, positive)


def test_many_numbers_are_a_regression(tmp_path: Path) -> None:
    assert made(tmp_path, frame(np.random.default_rng(1).normal(size=200))).guesses.task == "regression"


def test_keys_times_constants_and_prose_are_seen(tmp_path: Path) -> None:
    data = frame(np.resize(["no", "yes", "no"], 200))
    random = np.random.default_rng(2)
    data["customer_id"] = [f"C{number:05}" for number in range(200)]
    data["row"], data["same"] = range(200), 7
    data["when"] = pd.date_range("2026-01-01", periods=200, freq="h")
    data["note"] = [" ".join(random.choice(["late", "paid", "called", "twice", "never"], 6)) for _ in range(200)]
    data["hash"] = [f"{value:016x}" for value in random.integers(0, 2**60, 200)]

    guesses = made(tmp_path, data).guesses

    assert (guesses.entity, guesses.time, guesses.text) == (("customer_id",), "when", ("note",))
    assert {"row", "same", "hash"} <= guesses.excluded.keys()


def test_what_is_written_is_understood_and_says_why(tmp_path: Path) -> None:
    written = made(tmp_path, people(), "default")
    text = written.definition.read_text()

    assert load_definition(written.definition).positive == "yes"
    assert mistakes(project(tmp_path), written.definition) == []
    assert len(text.splitlines()) < 30 and "# the target has two values" in text
    assert all(path.is_file() for path in written.contracts)


def test_an_existing_model_is_never_overwritten(tmp_path: Path) -> None:
    made(tmp_path, people(), "default")

    with pytest.raises(UsageError, match="exists already"):
        made(tmp_path, people(), "default")


@pytest.mark.parametrize("column", ["one", "absent", "texts"])
def test_a_target_that_cannot_be_learnt_is_refused_and_nothing_is_written(column: str, tmp_path: Path) -> None:
    data = frame(np.resize(["no", "yes"], 200))
    data["one"], data["texts"] = 1, [f"text {number}" for number in range(200)]

    with pytest.raises((DataUnusable, UsageError)):
        made(tmp_path, data, column)

    assert not list((tmp_path / "models").iterdir())


def test_private_columns_never_reach_the_disk(tmp_path: Path) -> None:
    data = people()
    data["name"] = [f"Ada-{number}" for number in range(len(data))]

    made(tmp_path, data, "default", mask=("name",), drop=("age",))

    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "data.csv"]
    assert all(b"Ada-" not in path.read_bytes() for path in kept)


def test_a_word_that_only_ends_like_a_key_is_none(tmp_path: Path) -> None:
    rows = frame(np.resize([0, 1], 200)).assign(amount_paid=np.random.default_rng(1).permutation(200), grid=range(0, 600, 3))

    assert made(tmp_path, rows).guesses.entity == ()


def test_a_column_of_dates_that_one_value_made_text_is_told(tmp_path: Path) -> None:
    days = [str(day) for day in pd.date_range("2026-01-01", periods=200).date]

    guesses = made(tmp_path, frame(np.resize([0, 1], 200)).assign(seen=[*days[:-1], "9999-99-99"])).guesses

    assert '199 of 200 values are dates, not so "9999-99-99"' in guesses.excluded["seen"]


def test_a_leak_in_a_feature_made_of_a_date_is_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    opened = pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 300, 400), "D")
    days = random.integers(1, 200, 400)
    rows = pd.DataFrame({"opened": opened, "closed": opened + pd.to_timedelta(days, "D"), "a": random.normal(size=400), "days_open": days})

    result = made(tmp_path, rows, "days_open", time="closed")

    assert "opened_days" in result.guesses.excluded and mistakes(project(tmp_path), result.definition) == []


def test_what_new_leaves_out_is_counted_and_nothing_stays_in_the_store(tmp_path: Path) -> None:
    rows = frame(np.resize([0, 1], 200)).assign(a=[np.inf, *range(199)])

    result = made(tmp_path, pd.concat([rows, rows.tail(3)]))

    assert (result.dropped, result.infinite, result.types["a"]) == ({"duplicates": 3}, 1, "number")
    assert not (tmp_path / "store").exists()
