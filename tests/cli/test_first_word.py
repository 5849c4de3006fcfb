"""What takes seconds says at once that it has begun, on stderr, so that `--json` stays one value."""

import pytest

from nightgate.cli.main import main


@pytest.mark.parametrize("words", [
    ("new", "credit", "--data", "none.csv", "--target", "y"), ("gate", "none.json", "none.csv"), ("rollback", "credit"),
    ("approve", "credit", "--reason", "seen"), ("remove", "credit"), ("score", "credit", "--input", "a", "--output", "b"), ("drift", "a.csv", "b.csv"),
    ("drill", "credit"), ("quarantine", "credit"), ("docs", "credit"), ("contract", "learn", "credit")],
    ids=lambda words: words[0])
def test_a_command_that_takes_seconds_says_that_it_has_begun(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--json"])

    output = capsys.readouterr()
    assert output.err.endswith("…\n") and output.out.count("\n") == 1
