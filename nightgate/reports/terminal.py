"""A document in the terminal: 80 columns are enough, colours only where they are seen."""

import sys
from functools import singledispatch

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


@singledispatch
def _part(part: Part) -> RenderableType:
    raise TypeError(f"no terminal form for {type(part).__name__}")


@_part.register
def _(part: Heading) -> RenderableType:
    return Padding(Text(part.text, style="bold"), (1, 0, 0, 0))


@_part.register
def _(part: Paragraph) -> RenderableType:
    return Text(part.text)


@_part.register
def _(part: Callout) -> RenderableType:
    colour = COLOURS[part.tone]
    return Panel(Text(part.text), title=f"[bold {colour}]{escape(part.title)}[/]", title_align="left", border_style=colour)


@_part.register
def _(part: Facts) -> RenderableType:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in part.pairs:
        grid.add_row(Text(name), Text(value))
    return grid


@_part.register
def _(part: Table) -> RenderableType:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in part.columns:
        grid.add_column(Text(name), justify="right" if name in part.numeric else "left", overflow="fold")
    for number, row in enumerate(part.rows):
        grid.add_row(*(Text(cell) for cell in row), style="bold" if number in part.marked else "")
    return grid


@_part.register
def _(part: Plot) -> RenderableType:
    return Text(f"{part.title}: {part.told}")


@_part.register
def _(part: Bars) -> RenderableType:
    longest = max((abs(value) for value in part.values), default=0.0) or 1.0
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for label, value in zip(part.labels, part.values, strict=True):
        grid.add_row(Text(label), Text("█" * round(20 * max(value, 0.0) / longest), style="cyan"), Text(f"{value:.4g}"))
    return Group(Text(f"{part.title}: {part.told}"), grid)


@_part.register
def _(part: Side) -> RenderableType:
    return Group(*(_part(each) for each in part.parts))
