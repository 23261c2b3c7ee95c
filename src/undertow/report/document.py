"""The document tree: built once from a diagnosis, drawn by every renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from undertow.foundation import Severity
from undertow.foundation.numbers import written

Tone = Literal["good", "bad", "warn", "neutral"]
Align = Literal["left", "right"]


@dataclass(frozen=True)
class Text:
    """A cell with words; `code` sets it in a fixed-width font."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Number:
    """A cell with a measured number, written with so many significant digits."""

    value: float
    digits: int = 3
    times: bool = False
    """Whether it is a factor and is written ×0.24; – where it has no value (0/0)."""

    @property
    def text(self) -> str:
        if self.times and math.isnan(self.value):
            return "–"
        return ("×" if self.times else "") + written(self.value, self.digits)


@dataclass(frozen=True)
class Bar:
    """A cell with a size and a bar that shows it on the log scale from `low` to `high`."""

    value: float
    low: float
    high: float
    digits: int = 3


@dataclass(frozen=True)
class Badge:
    """A cell with one word in a coloured frame."""

    text: str
    tone: Tone = "neutral"


Cell = Text | Number | Bar | Badge


@dataclass(frozen=True)
class Column:
    title: str
    align: Align = "left"


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    strong: bool = False
    """A row that sums the others up."""


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    note: str = ""


@dataclass(frozen=True)
class EvidenceRow:
    """One measured number of a card: the range in which it would be no fault, and where the range comes from."""

    text: str
    value: float
    expected: str = ""
    origin: str = ""
    within: bool = True


@dataclass(frozen=True)
class Card:
    """A finding."""

    severity: Severity
    title: str
    because: str
    evidence: tuple[EvidenceRow, ...] = ()
    counter_evidence: tuple[EvidenceRow, ...] = ()
    overturned_by: str = ""
    cures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    svg: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Code:
    text: str
    language: str = "python"


@dataclass(frozen=True)
class Callout:
    text: str
    tone: Tone = "neutral"


@dataclass(frozen=True)
class Heading:
    """A section's title; level 2 stands under the document's title, 3 under level 2."""

    text: str
    level: Literal[2, 3] = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


Block = Heading | Paragraph | Table | Card | Figure | Code | Callout


@dataclass(frozen=True)
class Document:
    """A whole report in one language."""

    title: str
    lang: str
    blocks: tuple[Block, ...]
    subtitle: str = ""
