"""Live progress of a run: a line a stage as it ends, and the one that is under way where a terminal shows it."""

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

LOGGERS = ("nightgate", "nightgate_begun")


class Progress(logging.Handler):
    """Turns what the stages log into lines. Use as a context manager around the run."""

    def __init__(self, out: Console) -> None:
        super().__init__(logging.INFO)
        self.out = out
        self.status: Status | None = out.status("starting …") if sys.stdout.isatty() else None

    def __enter__(self) -> "Progress":
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
        if self.status:
            self.status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        if self.status:
            self.status.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one log record of a stage."""
        if record.name == "nightgate_begun":
            if self.status:
                self.status.update(f"{record.getMessage()} …")
            return
        stage = getattr(record, "stage", None)
        if stage is None:
            return
        told = str(getattr(record, "told", ""))
        mark, colour = ("✓", "green") if told else ("✗", "red")
        seconds = float(getattr(record, "seconds", 0.0))
        line = Table.grid(padding=(0, 1, 0, 0))
        for width in (1, 17, 7):
            line.add_column(width=width, no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(f"[{colour}]{mark}[/]", stage, f"[dim]{seconds:5.1f} s[/]", escape(told))
        self.out.print(line)
