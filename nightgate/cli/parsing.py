"""How a command is declared: name, what it does, an example, its arguments, the function that does it."""

import argparse
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from nightgate.errors import UsageError
from nightgate.reports.document import Document

LAST_PORT = 65_535


@dataclass(frozen=True)
class Answer:
    """What a command says: one JSON value for programs, a document or text for people, the exit code."""

    value: Any
    shown: Document | str
    exit_code: int = 0


Handler = Callable[[argparse.Namespace], Answer]


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are raised, so that they are told like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}.", remedy=f"`{self.prog} --help` shows an example.")


@dataclass(frozen=True)
class Commands:
    """The commands of the command line."""

    subparsers: "argparse._SubParsersAction[Parser]"

    def add(self, name: str, handler: Handler, told: str, example: str, *, begins: str = "", of_run: bool = False) -> Parser:
        """Declare a command; return its parser for the arguments it takes. `begins` is said at once by one that takes seconds;
        one that is `of_run` takes a model and one of its runs."""
        parser = self.subparsers.add_parser(name, help=told, description=told, epilog=f"Example:\n  {example}",
                                            formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--json", action="store_true", help="print one JSON value and nothing else")
        parser.set_defaults(handler=handler, begins=begins)
        if of_run:
            parser.add_argument("model")
            parser.add_argument("run", nargs="?", help="number or Prefect's run id; the last one when absent")
        return parser


def pairs(texts: list[str]) -> Mapping[str, str]:
    """Read `key=value` arguments; raise UsageError for what is no pair."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"`{text}` is no key=value.", remedy="Write it as in `--set training.seed=7`.")
        found[key] = value
    return found


def amount(text: str, *, least: float, most: float) -> float:
    """Read a number between two others. Raises UsageError for what is none."""
    with contextlib.suppress(ValueError):
        if least <= float(text) <= most:
            return float(text)
    raise UsageError(f"`{text}` is no number from {least:g} to {most:,g}.", remedy=f"Write it as in `{least:g}`, or more.")


def night(text: str) -> date:
    """Read the date of a night. Raises UsageError for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text} is no date.", remedy="Write it as in `--as-of 2026-11-20`.") from None


def port(text: str, least: int = 1) -> int:
    """Read the number of a port; 0, where that is allowed, is one that is free. Raises UsageError for what is none."""
    if not (text.isdecimal() and least <= int(text) <= LAST_PORT):
        raise UsageError(f"`{text}` is no port.", remedy=f"A port is a number from {least} to {LAST_PORT}, as in `--port 4200`.")
    return int(text)
