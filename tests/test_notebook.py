"""`nightgate.open` in a notebook: snapshot, contract, runs, champion and report of a model."""

import subprocess
import sys
from pathlib import Path

import pytest

import nightgate
from nightgate.errors import FileMissing
from tests.projects import edit_contract, people, project, run_plainly


def test_a_model_is_opened_with_all_that_belongs_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = project(tmp_path)
    record = run_plainly(place)
    monkeypatch.chdir(tmp_path / "models")

    credit = nightgate.open("credit")

    assert record is not None and credit.run() == credit.run(1) == credit.run(record.run_id) == record
    assert sorted(credit.snapshot()) == sorted(people()) and len(credit.snapshot()) == 600
    assert {"income", "default"} <= {column for check in credit.contract().checks for column in check.columns}
    assert set(credit.contract("predictions").checks[1].columns) == {"probability"}
    assert set(credit.model().answers(people()[["income", "age", "city"]]).to_pandas()["prediction"]) == {"yes", "no"}
    assert len(credit.model().predict(credit.snapshot())) == 600
    assert Path(str(credit.report())).is_file()


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    credit = nightgate.open("credit")

    with pytest.raises(FileMissing, match="crdit"):
        nightgate.open("crdit")
    with pytest.raises(FileMissing, match="no champion"):
        credit.model()
    with pytest.raises(FileMissing, match="credit"):
        credit.run()
    edit_contract(place, "raw", {"type": "expect_column_to_exist", "kwargs": {"column": "salary"}})
    with pytest.raises(Exception, match="salary"):
        run_plainly(place)
    assert "salary" in Path(str(credit.report())).read_text() and len(credit.snapshot()) == 600


@pytest.mark.parametrize("made", ["import nightgate", "from nightgate.cli.main import parser; parser()"])
def test_importing_nightgate_and_asking_for_help_are_light(made: str) -> None:
    heavy = "{'pandas', 'numpy', 'sklearn', 'pyarrow', 'duckdb', 'prefect', 'pydantic', 'mlflow', 'great_expectations'}"
    code = f"import sys; {made}; print(sorted({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
