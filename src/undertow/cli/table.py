"""A table as a terminal shows it, and as another program reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], heading: bool = True) -> None:
    """Ruled and folded on a terminal; in a pipe or a file a line a row with tabs between, the heading if wanted."""
    if not sys.stdout.isatty():
        for row in [columns, *rows] if heading else rows:
            typer.echo("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, style="bold" if i == 0 else None, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
