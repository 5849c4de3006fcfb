"""The command line: reads the words, calls the command, tells people or programs what came of it."""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from nightgate.cli import (
    authoring,
    changing,
    contracts,
    drilling,
    gating,
    keeping,
    monitoring,
    operating,
    reading,
    running,
    serving,
)
from nightgate.cli.parsing import Answer, Commands, Parser
from nightgate.errors import NightgateError
from nightgate.store import jsonable

PARTS = (authoring, contracts, drilling, gating, running, reading, changing, keeping, operating, monitoring, serving)
INTERRUPTED = 130
"""The exit code of a command that was ended by Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    interruption = Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interruption)
    logging.getLogger("nightgate_begun").addFilter(interruption.let_begin)
    try:
        parsed = parser().parse_args(words)
        if parsed.begins:
            print(parsed.begins, file=sys.stderr, flush=True)
        answer: Answer = parsed.handler(parsed)
        _tell(answer, as_json=as_json)
        sys.stdout.flush()
    except NightgateError as error:
        _tell_error(error.as_json(), as_json=as_json)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _end_interrupted(as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of a pipe has left
        sys.exit(1)
    except Exception as error:
        if interruption.wanted:  # what it met turned it into an error of its own
            _end_interrupted(as_json=as_json)
        if not as_json:
            raise
        traceback.print_exc()
        _tell_error({"kind": "Unexpected", "message": f"{type(error).__name__}: {error}"[:1_000],
                     "remedy": "This is a fault of Nightgate's or of own code; the traceback is on stderr."}, as_json=True)
        sys.exit(1)
    sys.exit(answer.exit_code)


def parser() -> Parser:
    """Return the parser of all commands."""
    whole = Parser(prog="nightgate", description="Retrain models every night and let nothing through that was not checked.")
    whole.add_argument("--version", action="version", version=_version())
    commands = Commands(whole.add_subparsers(metavar="COMMAND", required=True, title="commands"))
    for part in PARTS:
        part.add(commands)
    return whole


def _tell(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(jsonable(answer.value), ensure_ascii=False, allow_nan=False))
    elif isinstance(answer.shown, str):
        if answer.shown:
            print(answer.shown)
    else:
        from nightgate.reports.terminal import show

        show(answer.shown)


def _tell_error(error: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": error}, ensure_ascii=False, default=str))
        return
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}{error['kind']}{plain}: {error['message']}", file=sys.stderr)
    if error["remedy"]:
        print(error["remedy"], file=sys.stderr)


def _end_interrupted(*, as_json: bool) -> NoReturn:
    _tell_error({"kind": "Interrupted", "message": "Interrupted; nothing is half done.", "remedy": "Start it again."}, as_json=as_json)
    sys.exit(INTERRUPTED)


class Interruption:
    """Ends what runs, at once where Python can, else before the next stage: compiled code may swallow an exception."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, _number: int, _frame: object) -> None:
        self.wanted = True
        raise KeyboardInterrupt

    def let_begin(self, _record: logging.LogRecord) -> bool:
        if self.wanted:
            raise KeyboardInterrupt
        return True


def _version() -> str:
    from importlib.metadata import version

    return f"nightgate {version('nightgate')}"


if __name__ == "__main__":
    main()
