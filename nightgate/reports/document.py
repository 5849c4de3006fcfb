"""A document as a tree of plain parts, from which terminal, Markdown and HTML are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Callout:
    """The sentence that matters, with a tone."""

    title: str
    text: str
    tone: Tone


@dataclass(frozen=True)
class Facts:
    """Names with values, one a line."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of texts. `numeric` names the columns that are set flush right, `marked` the rows that stand out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[str] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Series:
    name: str
    points: Sequence[tuple[float, float]]
    style: Literal["line", "dots"] = "line"


@dataclass(frozen=True)
class Plot:
    """Points over two axes. `diagonal` draws where both are equal."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    told: str
    diagonal: bool = False
    unit: bool = False


@dataclass(frozen=True)
class Bars:
    """A bar a label."""

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    told: str


@dataclass(frozen=True)
class Side:
    """Parts that stand side by side where there is room."""

    parts: Sequence[Plot | Bars | Table]


Part = Heading | Paragraph | Callout | Facts | Table | Plot | Bars | Side


@dataclass(frozen=True)
class Document:
    title: str
    subtitle: str
    parts: Sequence[Part]
