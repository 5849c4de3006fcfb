"""Live progress of a run: a line a stage as it ends, and the one that is under way where a terminal shows it."""

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Progress(logging.Handler):
    """Turns what the stages log into lines. Use as a context manager around the run."""

    def __init__(self, out: Console) -> None:
        super().__init__(logging.INFO)
        self.out = out
        self.status: Status | None = out.status("starting …") if sys.stdout.isatty() else None

    def __enter__(self) -> "Progress":
        logging.getLogger("nightgate").addHandler(self)
        if self.status:
            self.status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        logging.getLogger("nightgate").removeHandler(self)
        if self.status:
            self.status.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one log record of a stage."""
        stage, phase = getattr(record, "stage", None), getattr(record, "phase", None)
        if stage is None:
            return
        if phase == "begin":
            if self.status:
                self.status.update(f"{stage} …")
            return
        told = str(getattr(record, "told", ""))
        mark, colour = ("✓", "green") if told else ("✗", "red")
        seconds = float(getattr(record, "seconds", 0.0))
        self.out.print(f"[{colour}]{mark}[/] {stage:<18}[dim]{seconds:6.1f} s[/]  {escape(told)}")
