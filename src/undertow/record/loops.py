"""Loops in a ledger: one layer that is called again and again along the main path, as a hand-written cell is over time.

Its calls share their weights, so no learning rate of one has to serve another: they are a time axis and not a depth.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from undertow.record.ledger import Entry, Ledger
from undertow.record.operations import FUSED
from undertow.record.reading import TimeReading

FEWEST = 8
"""Calls of one layer on the path that make a loop; layers that share their weights in pairs are none.  Ours."""
CELLS = {name for name in FUSED if "attention" not in name}


@dataclass(frozen=True)
class Loop:
    """The calls of one layer on the main path, from the place of the first to that of the last."""

    first: int
    last: int
    calls: tuple[Entry, ...]
    """In their order, also those beside the path."""

    @property
    def name(self) -> str:
        return self.calls[0].site.module or "forward"


def loops(ledger: Ledger) -> list[Loop]:
    """The outermost ones, from input to output; layers that take turns in one loop are one, named by the first."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(ledger.path):
        if _may_repeat(entry):
            places[entry.site.module].append(place)
    spans = sorted((found[0], found[-1], module) for module, found in places.items() if len(found) >= FEWEST)
    outer: list[tuple[int, int, str]] = []
    for span in spans:
        if outer and span[0] < outer[-1][1]:
            outer[-1] = outer[-1][0], max(outer[-1][1], span[1]), outer[-1][2]
        else:
            outer.append(span)
    calls: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger if outer else ():
        if _may_repeat(entry):
            calls[entry.site.module].append(entry)
    return [Loop(a, b, tuple(sorted(calls[m], key=lambda e: e.site.index))) for a, b, m in outer]


def _may_repeat(entry: Entry) -> bool:
    """A layer with weights of its own: a function that is called with other weights each time has no module's name."""
    return not entry.site.functional and (entry.site.effect == "weights" or entry.site.operation in CELLS)


def along(ledger: Ledger, loop: Loop) -> TimeReading:
    """The profile of a loop.  What comes directly to a call is what others than the next call hand back to it."""
    path = ledger.path
    at = [i for i in range(loop.first, loop.last + 1) if path[i].site.module == loop.calls[0].site.module]
    handed: dict[str, float] = {}
    slopes: list[float] = []
    for a, b in pairwise(at):
        between = path[a + 1 : b + 1]
        factor = math.prod(e.factor / e.branching for e in between if e.branching)
        handed[path[a].site.name] = factor * path[b].backward_rms
        slopes.append(math.prod(e.activation for e in between))
    sizes = [e.backward_rms for e in loop.calls]
    direct = [
        math.sqrt(max(s**2 - handed.get(e.site.name, 0.0) ** 2, 0.0)) for e, s in zip(loop.calls, sizes, strict=True)
    ]
    fused = any(path[i].site.operation in CELLS for i in at)
    return TimeReading(
        tuple(e.site.index for e in loop.calls),
        tuple(sizes),
        tuple(direct),
        _mean([a / b for a, b in pairwise(sizes) if 0 < b < math.inf]),
        None if fused else _mean(slopes),
    )


def _mean(factors: list[float]) -> float:
    """Geometric."""
    finite = [f for f in factors if math.isfinite(f)]
    if not finite:
        return math.nan
    return math.exp(sum(map(math.log, finite)) / len(finite)) if min(finite) > 0 else 0.0
