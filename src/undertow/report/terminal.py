"""The document on a terminal, readable with and without colour."""

from __future__ import annotations

import math
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
"""From this console width on the bars may be long, where the columns leave room for it."""
_GAP = 3
"""Characters between the columns of such a table; else 1."""
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
    """A table that is too wide becomes several, each with the first column."""
    columns = [[Text(column.title), *(r.cells[i] for r in block.rows)] for i, column in enumerate(block.columns)]
    leasts = [min(max(map(_longest_word, cells)), width // 4) for cells in columns]
    bars = sum(any(isinstance(c, Bar) for c in cells) for cells in columns)
    more = bars * (_WIDE_BAR - _NARROW_BAR) + (_GAP - 1) * len(columns)
    roomy = width >= _WIDE and sum(leasts) + len(leasts) + more <= width
    grids = [_grid(block, (0, *part), leasts, width, roomy) for part in _parts(leasts, width)]
    if block.caption:
        grids[0].title, grids[0].title_justify = Styled(block.caption, style="italic"), "left"
    if block.note:
        grids[-1].caption, grids[-1].caption_justify = Styled(block.note, style="dim"), "left"
    return Group(grids[0], *(Padding(grid, (1, 0, 0, 0)) for grid in grids[1:]))


def _parts(leasts: Sequence[int], width: int) -> list[range]:
    """The columns after the first, in as few parts as fit beside it, of even size."""
    others = len(leasts) - 1
    for size in (math.ceil(others / count) for count in range(1, others + 1)):
        parts = [range(i, min(i + size, others + 1)) for i in range(1, others + 1, size)]
        if size == 1 or all(leasts[0] + sum(leasts[i] + 1 for i in part) <= width for part in parts):
            return parts
    return [range(1, 1)]


def _grid(block: tree.Table, shown: Sequence[int], leasts: Sequence[int], width: int, roomy: bool) -> Grid:
    """Some columns of a table; a `roomy` one has long bars and wide gaps."""
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP - 1 if roomy else 0, 0, 0))
    room = width - sum(leasts[i] for i in shown[1:]) - len(shown)  # one character between columns
    for i in shown:
        column, cells = block.columns[i], [row.cells[i] for row in block.rows]
        # rich shrinks the widest column that may wrap, even below its min_width: those that gain nothing must not
        rigid = cell_len(column.title) <= leasts[i] and all(_longest_word(c) >= _length(c) for c in cells)
        grid.add_column(
            Styled(column.title),
            justify=column.align,
            overflow="fold",
            min_width=leasts[i],
            no_wrap=rigid or (i == 0 and _names_fit(cells, room)),
        )
    for row in block.rows:
        if row.strong:
            grid.add_section()
        grid.add_row(*(_cell(row.cells[i], roomy) for i in shown), style="bold" if row.strong else None)
    return grid


def _names_fit(cells: Sequence[Cell], room: int) -> bool:
    """Whether a column holds short names, which read badly on two lines, and the other columns leave room for them."""
    longest = max((cell_len(c.text) for c in cells if isinstance(c, Text)), default=0)
    return longest <= min(_NAME, room)


def _longest_word(cell: Cell) -> int:
    """Characters that a cell needs so that no word or number in it breaks."""
    if isinstance(cell, Bar):
        return _NUMBER + 1 + _NARROW_BAR
    return max(map(cell_len, _cell(cell).plain.split(" ")))


def _length(cell: Cell) -> int:
    return _longest_word(cell) if isinstance(cell, Bar) else cell_len(_cell(cell).plain)


def _cell(cell: Cell, roomy: bool = False) -> Styled:
    match cell:
        case Text(text, code):
            return Styled(text, style="cyan" if code else "")
        case Number():
            return Styled(cell.text)
        case Bar(value, low, high, digits):
            number = f"{written(value, digits):<{_NUMBER}} "
            return Styled.assemble(
                number, (bar(value, low, high, _WIDE_BAR if roomy else _NARROW_BAR), "magenta"), no_wrap=True
            )
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
