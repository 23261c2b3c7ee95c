"""Layered layout of a directed acyclic graph, left to right, by longest path."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
MARGIN = 1.0
"""Rows between two nodes of a column; the row is the unit of `Layout.row`."""
SPREAD = 2.0
"""Rows between two operations that start a column, which leaves room for the inputs of both.  Chosen by eye."""


@dataclass
class Layout:
    """Columns (whole) and rows (fractional) of the nodes, and of the bends of edges that pass over a column."""

    column: dict[Hashable, int] = field(default_factory=dict)
    row: dict[Hashable, float] = field(default_factory=dict)
    bends: dict[tuple[Hashable, Hashable], list[tuple[int, float]]] = field(default_factory=dict)


def layered(inputs: Mapping[Key, Sequence[Key]]) -> Layout:
    """Place every node right of all its inputs; `inputs` is in topological order.

    Operations go first and lie level with the operations they read.  A leaf goes one column before its first
    reader, above it where it is the reader's first input and below it where it is a later one.
    """
    layout = Layout(column=_columns(inputs))
    for column in range(max(layout.column.values()) + 1):
        _place_operations(inputs, layout, column)
    for key, read in inputs.items():
        if not read:
            _place_leaf(key, inputs, layout)
    top = min((*layout.row.values(), *(r for b in layout.bends.values() for _, r in b)))
    layout.row = {k: r - top for k, r in layout.row.items()}
    layout.bends = {e: [(c, r - top) for c, r in b] for e, b in layout.bends.items()}
    return layout


def _columns(inputs: Mapping[Key, Sequence[Key]]) -> dict[Hashable, int]:
    column: dict[Hashable, int] = {}
    for key, read in inputs.items():
        column[key] = 1 + max((column[r] for r in read), default=-1)
    for key, read in inputs.items():
        readers = [column[k] for k, r in inputs.items() if key in r]
        if not read and readers:
            column[key] = min(readers) - 1
    return column


def _place_operations(inputs: Mapping[Key, Sequence[Key]], layout: Layout, column: int) -> None:
    """Each at the mean row of what it reads, pushed down where two would touch; passing edges take a row too."""
    wishes: list[tuple[float, object]] = []
    fresh = 0.0
    for key, read in inputs.items():
        if read and layout.column[key] == column:
            rows = [_exit(layout, r, key) for r in read if r in layout.row]
            wishes.append((sum(rows) / len(rows) if rows else fresh, key))
            fresh += SPREAD
    for key, read in inputs.items():
        for source in read:
            if layout.column[source] < column < layout.column[key]:
                wishes.append((_pass(layout, source, key), (source, key)))
    taken: list[float] = []
    for wish, key in sorted(wishes, key=lambda w: w[0]):
        row = max(wish, taken[-1] + MARGIN) if taken else wish
        taken.append(row)
        if key in inputs:
            layout.row[key] = row  # type: ignore[index]
        else:
            layout.bends.setdefault(key, []).append((column, row))  # type: ignore[arg-type]


def _pass(layout: Layout, source: Hashable, target: Hashable) -> float:
    """Where an edge would like to pass over a column: where it passed the last one, else a row above its source."""
    if (source, target) in layout.bends or source not in layout.row:
        return _exit(layout, source, target)
    return layout.row[source] - MARGIN


def _exit(layout: Layout, source: Hashable, target: Hashable) -> float:
    bends = layout.bends.get((source, target))
    # a leaf has no row before all operations have one; its edges pass above the first row
    return bends[-1][1] if bends else layout.row.get(source, -MARGIN)


def _place_leaf(key: Key, inputs: Mapping[Key, Sequence[Key]], layout: Layout) -> None:
    """The free row of its column that is nearest to where it would like to be."""
    readers = [k for k, r in inputs.items() if key in r]
    column = layout.column[key]
    wanted = sum(layout.row[r] for r in readers) / len(readers) if readers else 0.0
    if len(readers) == 1 and len(inputs[readers[0]]) > 1:
        first = inputs[readers[0]]
        wanted += (-1 if first[0] == key else 1) * (MARGIN if any(inputs[r] for r in first) else MARGIN / 2)
    taken = [r for k, r in layout.row.items() if layout.column[k] == column]
    taken += [r for b in layout.bends.values() for c, r in b if c == column]
    candidates = sorted(
        (wanted + sign * step * MARGIN / 4 for step in range(8 * len(inputs)) for sign in (-1, 1)),
        key=lambda r: abs(r - wanted),
    )
    layout.row[key] = next(r for r in candidates if all(abs(r - t) >= MARGIN for t in taken))
