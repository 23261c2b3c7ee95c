"""The backward value along time, layer by layer, over the measured steps of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from undertow.diagnosis.needs import Need, calls
from undertow.foundation import Evidence
from undertow.record import Recording, Snapshot, TimeReading
from undertow.record.flow import VANISHED
from undertow.record.loops import CELLS, along, loops

LONG = 8
"""A shorter sequence is a deep net at most, and no long way for a gradient.  Ours."""
FIRST = 5
"""Measured steps of the start."""
KEEPS = (0.7, 1.4)
"""A factor within is one that keeps the size, as evidence of the layers' factors has it; what many of them make is
due to their number."""


@dataclass(frozen=True)
class Sequence:
    """What one recurrent layer did to the gradient, at the start of the run and in its last half."""

    where: str
    early: tuple[TimeReading, ...]
    late: tuple[TimeReading, ...]
    every: tuple[TimeReading, ...]
    step: int
    """The first with a reading."""

    def at_start(self, of: Callable[[TimeReading], float]) -> float:
        """The median of the first measured steps; NaN where one of them has none."""
        return median(map(of, self.early))

    def lately(self, of: Callable[[TimeReading], float]) -> float:
        return median(map(of, self.late))


def profiles(snapshot: Snapshot) -> dict[str, TimeReading]:
    """By layer, as the ledger labels it: of fused layers as they were replayed, of loops as the ledger has them."""
    labels = {e.site.module: e.site.label for e in reversed(snapshot.ledger.entries)}
    found: dict[str, TimeReading] = {}
    for name, reading in _united(snapshot.times).items():
        module = name if name in labels else name.rpartition(".l")[0]
        found.setdefault(labels.get(module, module), reading)
    for loop in loops(snapshot.ledger):
        found.setdefault(loop.calls[0].site.label, along(snapshot.ledger, loop))
    return {label: reading for label, reading in found.items() if reading.length >= LONG}


def _united(times: Mapping[str, TimeReading]) -> dict[str, TimeReading]:
    """Of a layer that runs both ways the direction that leaves more: the gradient need not take the other."""
    found: dict[str, TimeReading] = {}
    for name, reading in times.items():
        base = name.removesuffix(".reverse")
        if base not in found or reading.flow > found[base].flow:
            found[base] = reading
    return found


def sequences(recording: Recording) -> list[Sequence]:
    """Every layer with a profile, in the order of the model."""
    seen: dict[str, list[tuple[int, TimeReading]]] = defaultdict(list)
    for snapshot in recording.snapshots:
        for label, reading in profiles(snapshot).items():
            seen[label].append((snapshot.step, reading))
    half = recording.last_step / 2
    made = []
    for label, found in seen.items():
        late = [r for step, r in found if step >= half] or [found[-1][1]]
        every = tuple(r for _, r in found)
        made.append(Sequence(label, every[:FIRST], tuple(late), every, found[0][0]))
    return made


TIMES = Need("times", lambda recording: any(profiles(s) for s in recording.snapshots), concerns=calls(*CELLS))
"""A recurrent layer whose time steps could be read."""


def factors(reading: TimeReading) -> tuple[Evidence, ...]:
    """What one step makes of the backward value, split where the layer shows its activation."""
    found = [Evidence("time_factor", reading.step, *KEEPS, "keeps_size")]
    if reading.activation is not None and reading.weights is not None:
        found.append(Evidence("time_activation", reading.activation, *KEEPS, "keeps_size"))
        found.append(Evidence("time_weights", reading.weights, *KEEPS, "keeps_size"))
    return tuple(found)


def written(reading: TimeReading) -> dict[str, Any]:
    """The numbers that a sentence about it is written with."""
    return {
        "length": reading.length,
        "factor": reading.step,
        "activation": math.nan if reading.activation is None else reading.activation,
        "weights": reading.step if reading.weights is None else reading.weights,
    }


def reach(factor: float) -> int | None:
    """After how many steps back a thousandth of the gradient is left; None where they don't shrink it."""
    if not 0 < factor < 1:
        return 1 if factor == 0 else None
    return math.ceil(math.log(VANISHED) / math.log(factor))
