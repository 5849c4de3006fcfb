"""A document in the terminal: 80 columns are enough, colours only where they are seen."""

import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from nightgate.reports.document import Bars, Callout, Document, Facts, Heading, Paragraph, Part, Plot, Side, Table

COLOURS = {"good": "green", "bad": "red", "neutral": "cyan"}
PIPED_WIDTH = 100
"""Columns where the output goes to a file and no terminal says how wide it is."""


def console() -> Console:
    """Return the console of this process."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def show(document: Document) -> None:
    """Print a document."""
    out = console()
    out.print(f"[bold]{escape(document.title)}[/]")
    if document.subtitle:
        out.print(f"[dim]{escape(document.subtitle)}[/]")
    for part in document.parts:
        out.print(_part(part))


def _part(part: Part) -> RenderableType:
    match part:
        case Heading(text):
            return Padding(Text(text, style="bold"), (1, 0, 0, 0))
        case Paragraph(text):
            return Text(text)
        case Callout(title, text, tone):
            colour = COLOURS[tone]
            return Panel(Text(text), title=f"[bold {colour}]{escape(title)}[/]", title_align="left", border_style=colour)
        case Facts(pairs):
            return _grid([(Text(name, style="dim"), Text(value)) for name, value in pairs])
        case Table():
            return _table(part)
        case Plot():
            return Text(f"{part.title}: {part.told}")
        case Bars():
            longest = max(map(abs, part.values), default=0.0) or 1.0
            rows = [(Text(label), Text("█" * round(20 * max(value, 0.0) / longest), style="cyan"), Text(f"{value:.4g}"))
                    for label, value in zip(part.labels, part.values, strict=True)]
            return Group(Text(f"{part.title}: {part.told}"), _grid(rows))
        case Side(parts):
            return Group(*map(_part, parts))


def _grid(rows: Sequence[Sequence[Text]]) -> Grid:
    """Return rows whose first cell stays on its line."""
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _table(table: Table) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in table.columns:
        grid.add_column(Text(name), justify="right" if name in table.numeric else "left", overflow="fold")
    for number, row in enumerate(table.rows):
        grid.add_row(*map(Text, row), style="bold" if number in table.marked else "")
    return grid
