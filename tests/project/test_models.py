"""The project's own tests: every definition is understood, and the example runs from its source to a champion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def nightgate(*words: str, home: Path) -> tuple[int, dict[str, object]]:
    """Run one command of the command line on this project, with a store of its own."""
    environment = {**os.environ, "NIGHTGATE_PROJECT": str(ROOT), "NIGHTGATE_STORE": str(home / "store"), "PREFECT_HOME": str(home)}
    ended = subprocess.run([sys.executable, "-m", "nightgate", *words, "--json"], cwd=ROOT, env=environment, capture_output=True,
                           text=True, check=False)
    return ended.returncode, json.loads(ended.stdout)


def test_all_definitions_and_contracts_are_understood(tmp_path: Path) -> None:
    code, answer = nightgate("check", home=tmp_path)

    assert code == 0, answer


@pytest.mark.skipif(not (ROOT / "models/breast_cancer.toml").exists(), reason="the example was removed")
def test_example_gets_a_champion(tmp_path: Path) -> None:
    code, record = nightgate("run", "breast_cancer", home=tmp_path)

    assert code == 0, record
    assert record["verdict"] == "promoted"
    assert record["champion"] == record["run"] == 1
