"""The account of a backward pass: from what was measured at each stop to the entries of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from undertow.record import Entry, Reading, Site, Slope


class Edge(NamedTuple):
    """One output of one node of the autograd graph: what identifies a tensor's place in it, also after in-place use."""

    node: Any
    output: int


@dataclass(frozen=True)
class Passage:
    """What the forward pass left at a site."""

    site: Site
    forward: Reading
    slope: Slope | None


@dataclass(eq=False)
class Stop:
    """A tensor where the account is taken; `operation` is None for a junction."""

    edges: tuple[Edge, ...]
    operation: Any = None
    """With the fields of a `Passage`."""
    backward: Reading | None = None
    received: dict[Stop, Reading] = field(default_factory=dict)
    """What each later stop handed over, by that stop."""
    before: list[Stop] = field(default_factory=list)
    depth: int = 0

    @property
    def name(self) -> str:
        return self.operation.site.name if self.operation else "junction"


def entries(operations: Iterable[Stop]) -> tuple[Entry, ...]:
    """The entries of all operations that a gradient reached, from their stops in the order of the forward pass."""
    reached = [s for s in operations if s.backward is not None]
    path = _main_path(reached)
    return tuple(_entry(stop, stop in path) for stop in reached)


def _main_path(reached: list[Stop]) -> set[Stop]:
    path: set[Stop] = set()
    stop = max(reversed(reached), key=lambda s: s.depth, default=None)
    while stop is not None:
        path.add(stop)
        stop = _deepest(stop)
        while stop is not None and stop.operation is None:
            stop = _deepest(stop)
    return path


def _entry(stop: Stop, on_path: bool) -> Entry:
    operation, factors = stop.operation, {"branching": 1.0, "other": 1.0}
    later, earlier = stop, _deepest(stop)
    previous: Site | None = None
    while earlier is not None:
        handed = earlier.received[later]
        effect = operation.site.effect if later is stop else "other"
        factors[effect] = factors.get(effect, 1.0) * _ratio(handed, later.backward)
        factors["branching"] *= _ratio(earlier.backward, handed)
        if earlier.operation is not None:
            previous = earlier.operation.site
            break
        later, earlier = earlier, _deepest(earlier)
    if previous is None:  # the way ends in a junction of inputs: nothing is before this site
        factors = {}
    assert stop.backward is not None
    return Entry(
        operation.site, previous, operation.forward, stop.backward, slope=operation.slope, on_path=on_path, **factors
    )


def _deepest(stop: Stop) -> Stop | None:
    """The stop before on the longest way that the gradient took."""
    return max((b for b in stop.before if stop in b.received), key=lambda b: b.depth, default=None)


def _ratio(a: Reading | None, b: Reading | None) -> float:
    if a is None or b is None or not b.rms:
        return float("nan")
    return a.rms / b.rms


def merged(readings: list[Reading]) -> Reading:
    """One reading for the several outputs of one operation."""
    if len(readings) == 1:
        return readings[0]
    count = sum(r.count for r in readings)
    finite = max(count - sum(r.nonfinite for r in readings), 1)
    weights = [(r.count - r.nonfinite) / finite for r in readings]
    return Reading(
        count,
        sum(w * r.mean for w, r in zip(weights, readings, strict=True)),
        sum(w * r.rms**2 for w, r in zip(weights, readings, strict=True)) ** 0.5,
        max(r.max for r in readings),
        *(sum(getattr(r, name) for r in readings) for name in ("zeros", "nans", "infs", "subnormals")),
    )
