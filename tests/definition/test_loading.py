"""Definitions are read strictly, and every mistake is told at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightgate.definition.loading import definition_path, load_definition, parse_definition
from nightgate.definition.model import Promotion
from nightgate.errors import DefinitionError, FileMissing

GOOD = """name = "credit"
task = "binary"
target = "class"
positive = "bad"

[source]
data = "german.csv"

[training]
folds = 3
"""
BAD = """name = "credit"
task = "binry"
target = "class"
nme = 1

[source]
data = "german.csv"
sep = ";"

[training]
folds = "3"
metrc = "auc"

[schedule]
cron = "nightly"
timezone = "Mars/Base"

[promotion]
false = "ten"
"""


def written(folder: Path, text: str, name: str = "credit") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def mistakes_of(path: Path) -> dict[str, dict[str, object]]:
    with pytest.raises(DefinitionError) as refused:
        load_definition(path)
    return {mistake["key"]: mistake for mistake in refused.value.details["mistakes"]}


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = mistakes_of(written(tmp_path, BAD))

    assert set(found) == {"task", "nme", "source.sep", "training.folds", "training.metrc", "schedule.cron",
                          "schedule.timezone", "promotion.false"}
    assert (found["training.metrc"]["line"], found["training.metrc"]["suggestion"]) == (12, "Did you mean `metric`?")
    assert found["task"]["suggestion"] == "Did you mean `binary`?"
    assert found["training.folds"]["found"] == "'3'"


@pytest.mark.parametrize(("line", "key"), [
    ('positive = "bad"', "positive"),
    ('[training]\nmetric = "rmse"', "training.metric"),
    ("[window]\ndays = 3", "window.days"),
    ('[columns]\nexclude = ["class"]', "columns.exclude"),
    ('[privacy]\ndrop = ["a"]\nmask = ["a"]', "privacy"),
    ('[columns]\nnumeric = ["a"]\ntext = ["a"]', "columns.text"),
    ('[columns]\nexclude = ["a"]\nallow = ["a"]', "columns"),
    ('[privacy]\nmask = ["class"]', "privacy.mask"),
    ('entity = "class"', "entity"),
    ('[schedule]\ncron = "0 2 31 2 *"', "schedule.cron"),
    ('[promotion]\nfalse = "0 % a month"', "promotion.false"),
    ('[candidates.a]\nestimator = "logistc"', "candidates.a.estimator")])
def test_what_contradicts_itself_is_told(tmp_path: Path, line: str, key: str) -> None:
    text = 'name = "credit"\ntask = "multiclass"\ntarget = "class"\nSOURCE\n'.replace("SOURCE", line if "[" not in line else "")
    text += '[source]\ndata = "german.csv"\n' + (line if "[" in line else "")

    assert key in mistakes_of(written(tmp_path, text))


@pytest.mark.parametrize(("data", "secret"), [
    ("postgresql://u:pass@h/db", True), ("postgresql://u:${PW}@h/db", False), ("postgresql://u@h/db", False), ("https://tok@h/a.csv", True),
    ("https://h/a.csv?X-Amz-Signature=abc", True), ("https://h/a.csv?sig=${SIG}", False), ("https://h/a.csv?key=german", False)])
def test_a_secret_must_be_left_to_the_environment(tmp_path: Path, data: str, secret: bool) -> None:
    path = written(tmp_path, f'name = "credit"\ntask = "regression"\ntarget = "class"\n[source]\ndata = "{data}"\n')

    if secret:
        told = str(mistakes_of(path))
        assert "source.data" in told and "pass@" not in told and "abc" not in told and "tok@" not in told
    else:
        assert load_definition(path).source.data == data


def test_a_good_definition_is_read_and_overridden(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)

    assert load_definition(path).training.folds == 3
    assert load_definition(path, {"training.folds": "5", "training.salt": "x y"}).training.salt == "x y"
    with pytest.raises(DefinitionError, match="training.flds"):
        load_definition(path, {"training.flds": "5"})


@pytest.mark.parametrize("text", ["name = ", "\xff", 'name = "other"\n' + GOOD.partition("\n")[2]])
def test_files_that_cannot_be_meant_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credit.toml"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(DefinitionError):
        load_definition(path)


def test_an_unknown_model_is_met_with_the_nearest_name(tmp_path: Path) -> None:
    written(tmp_path, GOOD)

    with pytest.raises(FileMissing, match="Did you mean `credit`"):
        definition_path(tmp_path, "credti")


@given(st.sampled_from(["logistic", "forest", "boosting"]), st.integers(2, 20), st.floats(0.05, 0.8))
def test_a_definition_comes_back_from_its_own_json(estimator: str, folds: int, holdout: float) -> None:
    definition, mistakes = parse_definition({
        "name": "m", "task": "binary", "target": "y", "positive": "1", "source": {"data": "x.csv"},
        "candidates": {"a": {"estimator": estimator, "search": {"x": [1, 2.5, "c", None, True]}}},
        "training": {"folds": folds, "holdout": holdout}})

    assert definition is not None and not mistakes
    assert type(definition).model_validate_json(definition.model_dump_json()) == definition


@given(st.integers(1, 90), st.sampled_from(["week", "month", "quarter", "year"]))
def test_a_period_of_nights_keeps_the_budget(percent: int, period: str) -> None:
    level = Promotion(false=f"{percent} % a {period}").nightly_level
    nights = {"week": 7, "month": 30, "quarter": 91, "year": 365}[period]

    assert 1 - (1 - level) ** nights <= percent / 100
