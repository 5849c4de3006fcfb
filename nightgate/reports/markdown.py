"""A document as Markdown: charts become a sentence, bars become text, so that the Prefect UI shows all of it."""

from collections.abc import Sequence

from nightgate.reports.document import Bars, Callout, Document, Facts, Heading, Paragraph, Part, Plot, Side, Table

WIDTH = 24
"""Characters of the longest bar."""


def markdown(document: Document) -> str:
    """Return the whole document."""
    return "\n\n".join([f"# {document.title}", document.subtitle, *map(_part, document.parts)]) + "\n"


def _part(part: Part) -> str:
    match part:
        case Heading(text):
            return f"## {text}"
        case Paragraph(text):
            return _plain(text)
        case Callout(title, text):
            return f"> **{title.capitalize()}.** {_plain(text)}".replace("\n", "\n>\n> ")
        case Facts(pairs):
            return _table(["", ""], [[f"**{name}**", value] for name, value in pairs], frozenset())
        case Table(columns, rows, numeric, marked):
            shown = [[f"**{cell}**" for cell in row] if number in marked else row for number, row in enumerate(rows)]
            return _table(columns, shown, numeric)
        case Plot():
            return f"**{part.title}.** {_plain(part.told)}"
        case Bars():
            longest = max(map(abs, part.values), default=0.0) or 1.0
            bars = [[label, "█" * round(WIDTH * max(value, 0.0) / longest), f"{value:.4g}"]
                    for label, value in zip(part.labels, part.values, strict=True)]
            return f"**{part.title}.** {_plain(part.told)}\n\n" + _table(["", "", ""], bars, frozenset())
        case Side(parts):
            return "\n\n".join(map(_part, parts))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[str]) -> str:
    lines = ["| " + " | ".join(map(_cell, columns)) + " |",
             "| " + " | ".join("---:" if name in numeric else "---" for name in columns) + " |"]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("\n", " ")


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
