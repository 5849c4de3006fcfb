"""`nightgate init`: the same project from the wheel and from a checkout, whose own tests pass; an upgrade shows what it changes."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nightgate import skeleton
from nightgate.errors import UsageError
from tests.projects import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that holds what the wheel installs, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "installed")
    return folder / "installed"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_a_project_made_from_the_wheel_is_the_checkouts_and_its_tests_pass(wheel: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                   "PYTHONDONTWRITEBYTECODE": "1"}

    made = subprocess.run([sys.executable, "-m", "nightgate", "init", project, "--json"], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, check=False)
    skeleton.write(tmp_path / "from-checkout")
    same = files(project) == files(tmp_path / "from-checkout")
    tested = subprocess.run(["make", "test"], cwd=project, env=environment, capture_output=True, text=True, check=False)

    assert made.returncode == 0, made.stderr
    assert same and {"flows/retraining.py", "tests/test_models.py", "Makefile", ".gitignore"} <= files(project).keys()
    assert tested.returncode == 0 and "2 passed" in tested.stdout, tested.stdout + tested.stderr
    assert not (wheel / "flows").exists() and not (wheel / "tasks").exists()


def test_an_upgrade_shows_the_difference_and_leaves_what_is_the_owners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skeleton.write(tmp_path / "project")
    for name in ("flows/retraining.py", "models/breast_cancer.toml"):
        (tmp_path / "project" / name).write_text("# mine\n")
    (tmp_path / "project/tasks/score.py").unlink()

    changed = skeleton.upgrade(tmp_path / "project", ask=False)
    shown = capsys.readouterr().err

    assert changed == ["flows/retraining.py", "tasks/score.py"]
    assert "-# mine" in shown and "+++ flows/retraining.py (new)" in shown
    assert (tmp_path / "project/models/breast_cancer.toml").read_text() == "# mine\n"
    assert skeleton.upgrade(tmp_path / "project", ask=False) == []


def test_nothing_is_changed_before_somebody_has_agreed(tmp_path: Path) -> None:
    skeleton.write(tmp_path / "project")
    (tmp_path / "project/flows/retraining.py").write_text("# mine\n")

    with pytest.raises(UsageError, match="Nobody is there"):
        skeleton.upgrade(tmp_path / "project", ask=True)
    assert (tmp_path / "project/flows/retraining.py").read_text() == "# mine\n"


def test_a_folder_that_is_not_empty_or_no_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")

    with pytest.raises(UsageError, match="not empty"):
        skeleton.write(tmp_path)
    with pytest.raises(UsageError, match="no project"):
        skeleton.upgrade(tmp_path, ask=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
