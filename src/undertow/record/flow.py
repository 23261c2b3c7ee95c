"""The flow of the backward value through a ledger, and which kind of factor makes it what it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from undertow.foundation import Cause, Effect
from undertow.record.ledger import Entry, Ledger
from undertow.record.loops import loops
from undertow.record.recording import Recording
from undertow.record.site import Site

VANISHED, LOST = 1e-3, 1e-6
"""A flow below the first has vanished: three decades are the share of a weight's size that one update usually changes,
and what float16's 11 significant bits tell apart.  Below the second an update of the first layer is lost in rounding
next to one of the last (float32: 6e-8)."""
EXPLODED = 100.0
"""A first layer that needs a rate a hundred times lower than the last is outside the usual two decades between the
largest rate that trains and one that is too small (empirical); a flow above its square can't be trained at one rate."""
FLAT_SHARE, FLAT = 0.7, 0.05
"""A layer is saturated where so many derivatives are below this part of the steepest: a standard normal input leaves
3 % of tanh's flat; 70 % takes ten times its spread.  A flat unit learns twenty times slower than at its best."""
LARGE_INPUT = 3.0
"""Standardised data has rms 1; three is outside any usual normalisation (pixels in 0..1, unit variance)."""
ROUNDING = 1e-6
"""Two sums of the same numbers agree to this; what differs by more has another reader."""
CRITICAL_EXCESS = math.sqrt(2)
"""Weights whose factor, with the activation's, exceeds this a layer have at least twice the critical variance."""
FITTED = 0.1
"""Once the gradient at the output has fallen to a tenth of its start, the model fits and small gradients are due."""


def trunk(ledger: Ledger) -> tuple[Entry, ...]:
    """The main path from the first site to the last layer of weights whose gradient counts.

    What follows the last weights (an output's activation, a scale) hands all layers alike what it leaves of the
    gradient.  And the path is the longest one, which may lead to an output that hardly counts, as that of a side head
    whose loss weighs little: it ends at a fork where another consumer sends back a hundred times more than is seen
    anywhere further on.
    """
    path, largest = ledger.path, 0.0
    weights = [place for place, e in enumerate(path) if e.site.effect == "weights"]
    end = weights[-1] + 1 if weights else len(path)
    for place in range(end - 1, 0, -1):
        largest = max(largest, path[place].backward_rms)
        if path[place].branching > EXPLODED and path[place - 1].backward_rms > EXPLODED * largest:
            end = place
    return path[:end]


def flow(ledger: Ledger) -> float:
    """Backward rms at the first site of the trunk over that at its last, without what pooling and slicing do to an rms.

    What happens in a loop over time is left out: it is judged along time.  Scale-free: the loss's scale divides out.
    NaN where the last site's backward value is 0 or not finite, or nothing comes out of a loop.
    """
    path = trunk(ledger)
    if not path or not path[-1].backward_rms:
        return math.nan
    found = [x for x in loops(ledger) if x.last < len(path)]
    resizing = _resizing(path).items()
    resized = math.prod(f for place, f in resizing if not any(x.first < place <= x.last for x in found))
    resized *= math.prod(_left(path[x.first].backward_rms, path[x.last].backward_rms) for x in found)
    size = path[0].backward_rms / path[-1].backward_rms
    return size / resized if resized and math.isfinite(resized) else math.nan if found else size


def _left(first: float, last: float) -> float:
    return first / last if last else math.nan


def flow_without(ledger: Ledger, sites: Collection[Site], effect: Effect = "activation") -> float:
    """The flow that would be left if one kind of factor were 1 at these sites.

    NaN where one of them lets nothing pass: what the layers before it would do with a gradient is not known.
    """
    taken = math.prod(getattr(e, effect) for e in trunk(ledger) if e.site in sites)
    return flow(ledger) / taken if taken else math.nan


def sizes(ledger: Ledger) -> list[float]:
    """Backward rms of each site of the main path, without what pooling and slicing behind it do to an rms."""
    found, resized, factors = [], 1.0, _resizing(ledger.path)
    for place in range(len(ledger.path) - 1, -1, -1):
        found.append(ledger.path[place].backward_rms / resized)
        factor = factors.get(place, 1.0)
        resized *= factor if factor and math.isfinite(factor) else 1.0
    return found[::-1]


def _resizing(path: Sequence[Entry]) -> dict[int, float]:
    """Factors of the operations that change the number of values, by their places on the path; a product with a
    number changes none, and counts as any other.

    So does a detour that comes back to the number that it left with: attention's scores, a gate of pooled values, and
    whatever happens in a residual branch, between the fork and the sum.
    """
    left: list[tuple[int, int, int]] = []
    forks: list[tuple[int, int]] = []
    for place, (before, entry) in enumerate(pairwise(path), 1):
        had, has = before.forward.count, entry.forward.count
        if abs(entry.branching - 1) > ROUNDING:
            forks.append((place, had))
        if entry.site.effect == "branching":
            fork = next((start for start, count in reversed(forks) if count == has), None)
            if fork is not None:
                forks = [one for one in forks if one[0] < fork]
                left = [one for one in left if one[2] < fork]
        if had == has or entry.site.effect == "weights":
            continue
        returns = [start == has and (end < start) == (had < has) for start, end, _ in left]
        back = max((i for i, here in enumerate(returns) if here), default=None)
        left = [*left, (had, has, place)] if back is None else left[:back]
    return {place: path[place].other for *_, place in left}


def layers(ledger: Ledger) -> int:
    """How many layers of weights the backward value passes on its way to the first site."""
    return sum(e.site.effect == "weights" and e.previous is not None for e in trunk(ledger))


def is_fitted(recording: Recording, ledger: Ledger) -> bool:
    """Whether the gradient that the loss sends back has shrunk to a tenth of the first step's.

    By more than the output itself has: one that was a thousand times too large and is now of the right size has made
    the gradient of a squared error a thousand times smaller, and fits nothing yet.
    """
    start, now = recording.snapshots[0].ledger, ledger
    if not start.path or not now.path or now is start:
        return False
    first, last = start.path[-1], now.path[-1]
    shrunk = min(1.0, last.forward_rms / first.forward_rms) if first.forward_rms else 1.0
    return last.backward_rms < FITTED * first.backward_rms * shrunk


def born_zero(recording: Recording) -> frozenset[Site]:
    """The sites whose weights were all 0 at the start.

    That is a usual way to begin with a head or a residual branch at rest: the layer itself gets a gradient and leaves 0
    with its first step, and what it does to the backward value until it has grown is no fault.
    """
    first = recording.snapshots[0]
    zero = {name.removesuffix(".weight") for name, p in first.parameters.items() if p.weight.max == 0}
    return frozenset(e.site for e in first.ledger if e.site.effect == "weights" and e.site.module in zero)


def vanishing_cause(ledger: Ledger) -> Cause:
    """The kind of factor that shrinks the most along the path."""
    losses = {
        "activation": _log_total(ledger, "activation"),
        "weights": _log_total(ledger, "weights"),
        "depth": _log_total(ledger, "normalisation") + _log_total(ledger, "branching"),
    }
    return min(losses, key=lambda cause: losses[cause])  # type: ignore[return-value]


def exploding_cause(ledger: Ledger) -> Cause:
    """Weights are to blame for what exceeds the gain that their activations need; normalisation and residual sums,
    which grow a little in each layer whatever the weights, for the rest: that is depth."""
    structure = _log_total(ledger, "normalisation") + _log_total(ledger, "branching")
    slopes, weights = _log_total(ledger, "activation"), _log_total(ledger, "weights")
    if slopes > max(weights, structure):
        return "activation"
    excess = math.exp((min(slopes, 0.0) + weights) / max(layers(ledger), 1))
    return "depth" if structure > 0 and excess < CRITICAL_EXCESS else "weights"


def _log_total(ledger: Ledger, effect: Any) -> float:
    factors = [getattr(e, effect) for e in trunk(ledger)]
    return sum(math.log(f) for f in factors if f > 0 and math.isfinite(f))


def account(ledger: Ledger) -> dict[str, Any]:
    """The numbers that a sentence about the flow is written with."""
    slopes = [e.slope for e in ledger.path if e.slope is not None]
    name = slopes[0].activation if slopes else "activation"
    return {
        "act": {"sigmoid": "σ", "custom": "f"}.get(name, name),
        "slope": sum(s.mean for s in slopes) / len(slopes) if slopes else 1.0,
        "activation": ledger.mean("activation"),
        "weights": ledger.mean("weights"),
        "normalisation": ledger.mean("normalisation"),
        "branching": ledger.mean("branching"),
        "layers": layers(ledger),
        "flow": flow(ledger),
        "first": ledger.path[0].site.label,
        "last": trunk(ledger)[-1].site.label,
    }


def first_weights(ledger: Ledger) -> Entry:
    """The first entry of the main path whose operation has weights, else its first."""
    return next((e for e in ledger.path if e.site.effect == "weights"), ledger.path[0])


def layer_of(ledger: Ledger, entry: Entry) -> Entry:
    """The entry with weights that an activation belongs to: itself, or the nearest one before it; else the entry."""
    by_site = {e.site: e for e in ledger}
    here: Entry | None = entry
    while here is not None and here.site.effect != "weights":
        here = by_site.get(here.previous) if here.previous else None
    return here or entry
