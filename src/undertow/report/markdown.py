"""The document as Markdown, for an issue, a notebook or a log that keeps no colours."""

from __future__ import annotations

from undertow.foundation import language, say
from undertow.foundation.numbers import written
from undertow.report import document as tree
from undertow.report.document import Badge, Bar, Block, Cell, Document, EvidenceRow, Number, Text
from undertow.report.terminal import bar

_BAR = 12
"""Characters of a bar."""


def markdown(document: Document) -> str:
    """The whole page, in the flavour that GitHub reads; a figure is its description."""
    with language(document.lang):
        head = [f"# {_words(document.title)}"] + ([_words(document.subtitle)] if document.subtitle else [])
        return "\n\n".join([*head, *map(_drawn, document.blocks)]) + "\n"


def _drawn(block: Block) -> str:
    match block:
        case tree.Heading(text, level):
            return f"{'#' * level} {_words(text)}"
        case tree.Paragraph(text):
            return _words(text)
        case tree.Callout(text):
            return f"> **{_words(text)}**"
        case tree.Code(text, lang):
            return f"```{lang}\n{text}\n```"
        case tree.Figure():
            return f"*{_words(say('report.figure_terminal', alt=block.alt))}*"
        case tree.Table():
            return _table(block)
        case tree.Card():
            return _card(block)


def _table(table: tree.Table) -> str:
    rules = [":--" if c.align == "left" else "--:" for c in table.columns]
    rows = [[c.title for c in table.columns], rules]
    rows += [[_cell(cell, row.strong) for cell in row.cells] for row in table.rows]
    parts = ["\n".join(f"| {' | '.join(row)} |" for row in rows)]
    if table.caption:
        parts.insert(0, f"*{_words(table.caption)}*")
    if table.note:
        parts.append(_words(table.note))
    return "\n\n".join(parts)


def _cell(cell: Cell, strong: bool) -> str:
    match cell:
        case Text(text, code):
            shown = f"`{_flat(text).replace('`', chr(39))}`" if code and text else _words(_flat(text))
        case Number():
            shown = cell.text
        case Bar(value, low, high, digits):
            shown = f"{written(value, digits)} {bar(value, low, high, _BAR).rstrip()}".rstrip()
        case Badge(text):
            shown = f"**{_words(text)}**"
    return f"**{shown}**" if strong and shown else shown


def _card(card: tree.Card) -> str:
    parts = [f"### {say(f'report.severity.{card.severity}').upper()}: {_words(card.title)}", _words(card.because)]
    for name, rows in (("evidence", card.evidence), ("counter_evidence", card.counter_evidence)):
        if rows:
            parts += [f"**{say(f'report.{name}')}**", "\n".join(map(_evidence, rows))]
    for name, text in (("overturned_by", card.overturned_by), ("cures", ", ".join(card.cures))):
        if text:
            parts.append(f"**{say(f'report.{name}')}:** {_words(text)}")
    return "\n\n".join(parts)


def _evidence(row: EvidenceRow) -> str:
    expected = f"; {say('report.expected')} {row.expected}" if row.expected else ""
    origin = f" ({row.origin})" if row.origin else ""
    mark = "" if row.within else " ⚠"
    return f"- {_words(row.text)}: **{written(row.value)}**{mark}{_words(expected + origin)}"


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _words(text: str) -> str:
    """Names such as `a_b*c` stay what they are."""
    for mark in "*_<":
        text = text.replace(mark, f"\\{mark}")
    return text
