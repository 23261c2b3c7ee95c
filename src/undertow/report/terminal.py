"""The document on a terminal, readable with and without colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table as Grid
from rich.text import Text as Styled

from undertow.foundation import language, say
from undertow.foundation.numbers import written
from undertow.report import document as tree
from undertow.report.document import Badge, Bar, Block, Cell, Document, EvidenceRow, Number, Text
from undertow.report.numbers import position

_SEVERITY = {"critical": "bold red", "warning": "bold yellow", "note": "bold blue"}
_TONE = {"good": "bold green", "bad": "bold red", "warn": "bold yellow", "neutral": "bold"}
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WIDE, _WIDE_BAR, _NARROW_BAR = 110, 24, 6
"""From this console width on the bars may be long."""
_NAME = 24
"""The longest name, in characters, that a table never breaks."""
_NUMBER = 10
"""Characters for the number before a bar, so that the bars of a column start together: `7.5×10⁻¹⁹³`."""


def print_document(document: Document, console: Console | None = None) -> None:
    """Print a document, as wide as the console is."""
    console = console or Console()
    with language(document.lang):
        console.print(Styled(document.title, style="bold underline"))
        if document.subtitle:
            console.print(Styled(document.subtitle, style="dim"))
        for block in document.blocks:
            console.print(drawn(block, console.width))


def drawn(block: Block, width: int) -> RenderableType:
    """One block as rich draws it; words come from the current language."""
    return _DRAW[type(block)](block, width)


def bar(value: float, low: float, high: float, width: int) -> str:
    """A bar of block characters, in eighths of a character, on the log scale from low to high."""
    eighths = round(position(value, low, high) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _bar_length(width: int) -> int:
    return _WIDE_BAR if width >= _WIDE else _NARROW_BAR


def _heading(block: tree.Heading, width: int) -> RenderableType:
    return Padding(Styled(block.text, style="bold"), (1, 0, 0, 0))


def _paragraph(block: tree.Paragraph, width: int) -> RenderableType:
    return Styled(block.text)


def _callout(block: tree.Callout, width: int) -> RenderableType:
    return Panel(Styled(block.text, style=_TONE[block.tone]), box=box.ROUNDED, expand=False)


def _code(block: tree.Code, width: int) -> RenderableType:
    return Padding(
        Syntax(block.text, block.language, theme="ansi_dark", background_color="default", word_wrap=True), (0, 0, 0, 2)
    )


def _figure(block: tree.Figure, width: int) -> RenderableType:
    return Styled(say("report.figure_terminal", alt=block.alt), style="dim italic")


def _table(block: tree.Table, width: int) -> RenderableType:
    grid = Grid(
        box=box.SIMPLE_HEAD,
        title=Styled(block.caption, style="italic") if block.caption else None,
        title_justify="left",
        caption=Styled(block.note, style="dim") if block.note else None,
        caption_justify="left",
        pad_edge=False,
        show_edge=False,
        padding=(0, 2 if width >= _WIDE else 0, 0, 0),
    )
    columns = [[row.cells[i] for row in block.rows if i < len(row.cells)] for i in range(len(block.columns))]
    leasts = [
        min(max(map(_longest_word, (Text(column.title), *cells))), width // 4)
        for column, cells in zip(block.columns, columns, strict=True)
    ]
    room = width - sum(leasts[1:]) - len(columns)  # one character between columns
    for i, (column, cells, least) in enumerate(zip(block.columns, columns, leasts, strict=True)):
        # rich shrinks the widest column that may wrap, even below its min_width: those that gain nothing must not
        rigid = cell_len(column.title) <= least and all(_longest_word(c) >= _length(c) for c in cells)
        grid.add_column(
            Styled(column.title),
            justify=column.align,
            overflow="fold",
            min_width=least,
            no_wrap=rigid or (i == 0 and _names_fit(cells, room)),
        )
    for row in block.rows:
        cells = [_cell(cell, width) for cell in row.cells]
        if row.strong:
            grid.add_section()
        grid.add_row(*cells, style="bold" if row.strong else None)
    return grid


def _names_fit(cells: Sequence[Cell], room: int) -> bool:
    """Whether a column holds short names, which read badly on two lines, and the other columns leave room for them."""
    longest = max((cell_len(c.text) for c in cells if isinstance(c, Text)), default=0)
    return longest <= min(_NAME, room)


def _longest_word(cell: Cell) -> int:
    """Characters that a cell needs so that no word or number in it breaks."""
    if isinstance(cell, Bar):
        return _NUMBER + 1 + _NARROW_BAR
    return max(map(cell_len, _cell(cell, 0).plain.split(" ")))


def _length(cell: Cell) -> int:
    return _longest_word(cell) if isinstance(cell, Bar) else cell_len(_cell(cell, 0).plain)


def _cell(cell: Cell, width: int) -> Styled:
    match cell:
        case Text(text, code):
            return Styled(text, style="cyan" if code else "")
        case Number(value, digits, times):
            return Styled(("×" if times else "") + written(value, digits))
        case Bar(value, low, high, digits):
            number = f"{written(value, digits):<{_NUMBER}} "
            return Styled.assemble(number, (bar(value, low, high, _bar_length(width)), "magenta"), no_wrap=True)
        case Badge(text, tone):
            return Styled(text, style=_TONE[tone])


def _card(block: tree.Card, width: int) -> RenderableType:
    style = _SEVERITY[block.severity]
    severity = say(f"report.severity.{block.severity}").upper()
    title = Styled.assemble((f" {severity} ", style), (block.title + " ", "bold"))
    parts: list[RenderableType] = [Styled(block.because)]
    for name, rows in (("evidence", block.evidence), ("counter_evidence", block.counter_evidence)):
        if rows:
            parts += [Styled(), Styled(say(f"report.{name}"), style="bold"), _evidence(rows)]
    for name, text in (("overturned_by", block.overturned_by), ("cures", ", ".join(block.cures))):
        if text:
            parts += [Styled(), Styled.assemble((say(f"report.{name}") + ": ", "bold"), text)]
    return Panel(
        Group(*parts), title=title, title_align="left", border_style=style.split()[-1], box=box.ROUNDED, padding=(0, 1)
    )


def _evidence(rows: tuple[EvidenceRow, ...]) -> RenderableType:
    grid = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(5):
        grid.add_column(overflow="fold")  # else a Korean word wider than its column ends in an ellipsis
    for row in rows:
        mark = "·" if row.within else "!"
        expected = f"{say('report.expected')} {row.expected}" if row.expected else ""
        grid.add_row(
            Styled(mark, style="" if row.within else "bold red"),
            Styled(row.text),
            Styled(written(row.value), style="bold"),
            Styled(expected, style="dim"),
            Styled(row.origin, style="dim"),
        )
    return grid


_DRAW: dict[type, Callable[[Any, int], RenderableType]] = {
    tree.Heading: _heading,
    tree.Paragraph: _paragraph,
    tree.Callout: _callout,
    tree.Code: _code,
    tree.Figure: _figure,
    tree.Table: _table,
    tree.Card: _card,
}
