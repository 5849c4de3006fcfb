"""A document as Markdown: charts become a sentence, bars become text, so that the Prefect UI shows all of it."""

from collections.abc import Sequence
from functools import singledispatch

from nightgate.reports.document import Bars, Callout, Document, Facts, Heading, Paragraph, Part, Plot, Side, Table

WIDTH = 24
"""Characters of the longest bar."""


def markdown(document: Document) -> str:
    """Return the whole document."""
    return "\n\n".join([f"# {document.title}", document.subtitle, *(_part(part) for part in document.parts)]) + "\n"


@singledispatch
def _part(part: Part) -> str:
    raise TypeError(f"no Markdown for {type(part).__name__}")


@_part.register
def _(part: Heading) -> str:
    return f"## {part.text}"


@_part.register
def _(part: Paragraph) -> str:
    return _plain(part.text)


@_part.register
def _(part: Callout) -> str:
    return f"> **{part.title.capitalize()}.** {_plain(part.text)}".replace("\n", "\n>\n> ")


@_part.register
def _(part: Facts) -> str:
    return _table(["", ""], [[f"**{name}**", value] for name, value in part.pairs], frozenset())


@_part.register
def _(part: Table) -> str:
    rows = [[f"**{cell}**" for cell in row] if number in part.marked else row for number, row in enumerate(part.rows)]
    return _table(part.columns, rows, part.numeric)


@_part.register
def _(part: Plot) -> str:
    return f"**{part.title}.** {_plain(part.told)}"


@_part.register
def _(part: Bars) -> str:
    longest = max((abs(value) for value in part.values), default=0.0) or 1.0
    rows = [[label, "█" * round(WIDTH * max(value, 0.0) / longest), f"{value:.4g}"]
            for label, value in zip(part.labels, part.values, strict=True)]
    return f"**{part.title}.** {_plain(part.told)}\n\n" + _table(["", "", ""], rows, frozenset())


@_part.register
def _(part: Side) -> str:
    return "\n\n".join(_part(each) for each in part.parts)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[str]) -> str:
    lines = ["| " + " | ".join(map(_cell, columns)) + " |",
             "| " + " | ".join("---:" if name in numeric else "---" for name in columns) + " |"]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
