"""What the documentation shows is run: the tutorial, in the terminal and in a notebook, and the README's commands."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nightgate.cli.main import parser
from nightgate.errors import NightgateError
from tests.projects import ROOT, people, project, run_plainly


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    lines = [line.strip() for block in blocks(path, "") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("nightgate ")]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_shown_exists(path: Path) -> None:
    for words in commands(path):
        assert words[0] == "nightgate"
        arguments = [word for word in words[1:] if word != "[--upgrade]"][: words.index("&&") - 1 if "&&" in words else None]
        try:
            parser().parse_args(arguments)
        except NightgateError as error:
            pytest.fail(f"{' '.join(words)}: {error}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    tutorial = ROOT / "docs/tutorial.md"
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "NO_COLOR": "1"}

    def nightgate(folder: Path, *words: str) -> str:
        ended = subprocess.run([sys.executable, "-m", "nightgate", *words], cwd=folder, env=environment, capture_output=True, text=True,
                               check=False)
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return ended.stdout

    nightgate(tmp_path, "init", "my-models")
    project = tmp_path / "my-models"
    for words in commands(tutorial):
        if words[1] not in ("init",) and "compare" not in words:
            nightgate(project, *words[1:])
    (code,) = blocks(tutorial, "python")
    ended = subprocess.run([sys.executable, "-c", code + "\nprint(tumours.run().verdict, len(tumours.snapshot()))"], cwd=project,
                           env=environment, capture_output=True, text=True, check=False)

    assert ended.stdout == "promoted 569\n", ended.stderr


@pytest.mark.filterwarnings("ignore:Could not infer format")
def test_steps_of_feature_engine_work_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs/how-to/own-estimator.md"
    (code,), toml = blocks(page, "python"), blocks(page, "toml")[-1]
    place = project(tmp_path, people(), extra="\n" + toml)
    (place.models / "steps.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    record = run_plainly(place)

    assert record is not None and record.verdict == "promoted"
    assert "engineered" in [each.name for each in record.candidates if each.chosen]
