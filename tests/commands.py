"""Running a command of the command line in this process, as a person or a program would."""

import json
from typing import Any

import pytest

from nightgate.cli.main import main


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed, of one with `--json` on stdout alone."""
    with pytest.raises(SystemExit) as end:
        main(words)
    output = capsys.readouterr()
    return int(end.value.code or 0), output.out + ("" if "--json" in words else output.err)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Run a command with --json; return its exit code and the one value it printed."""
    code, text = ended(capsys, *words, "--json")
    return code, json.loads(text)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    return ended(capsys, *words)[1]
