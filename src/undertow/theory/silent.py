"""Units that no sample reaches: how many to expect, and how many there are in a model as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undertow.activations import Pointwise, traits
from undertow.record import Site
from undertow.theory.laws import Activate
from undertow.theory.signal import Signal

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast

SELDOM = 0.05
"""A unit counts as silent that fires for less than one sample in twenty.  Our choice: what a batch can tell."""
ENOUGH = math.ceil(math.log(0.05) / math.log(1 - SELDOM))
"""Samples: one that fires more often is silent for all of so many in less than one case of twenty."""
DEPTH = -NormalDist().inv_cdf(SELDOM)
"""So many standard deviations its mean lies below where its slope begins, if it is normal over the samples."""
FAR = 1e6
"""An x that is far out on the left."""


LIKELY, NARROW = 0.25, 64
"""Of so many units that are silent with this probability half are so in one of 10⁵ initialisations; a layer that is
narrower, or whose units are silent more often, is looked at."""


def silent(forecast: Forecast) -> dict[Site, float]:
    """As `Forecast.silent`."""
    from undertow.theory.reading import look

    nodes, signals = forecast.blueprint.nodes, forecast.flow.signals
    found: dict[int, float] = {}
    doubtful = False
    for entry in forecast.ledger:
        index = next(i for i, n in enumerate(nodes) if n.site == entry.site)
        law = nodes[index].law
        start = edge(law.activation) if isinstance(law, Activate) and law.effect == "activation" else None
        if start is not None:
            x = signals[nodes[index].inputs[0]]
            found[index] = expected_share(x, start)
            doubtful = doubtful or found[index] > LIKELY or x.layout.count("F") < NARROW
    if doubtful and forecast.model is not None and forecast.inputs is not None:
        counted = Silent({i: signals[nodes[i].inputs[0]].layout.roles for i in found})
        again = look(forecast.model, forecast.inputs, counted)
        if [n.site for n in again.nodes] == [n.site for n in nodes]:  # else its course depends on the values
            found |= counted.shares
    return {site: share for i, share in found.items() if (site := nodes[i].site) is not None}


@lru_cache(maxsize=256)
def edge(activation: Pointwise) -> float | None:
    """Up to which x the derivative is exactly 0, as ReLU's up to 0; None where it is not, and for steps."""
    if activation.tensors or not activation.kinks or traits(activation).saturating:
        return None
    left = torch.full((1, activation.channels), -FAR, dtype=torch.float64)
    first = min(activation.kinks)
    beside = torch.full_like(left, first - 1e-6)
    flat = [bool((activation.derivative(x) == 0).all()) for x in (left, beside)]
    return first if all(flat) else None


def expected_share(x: Signal, start: float) -> float:
    """The share of the units that are silent on data like this, where their slope begins at `start`.

    u = m + σ (√c z + √(1 − c) ε) of a unit: z is its own, ε the sample's, c the correlation of two samples.  It is
    silent where m + σ √c z < start − 1.64 σ √(1 − c).
    """
    square, mean = x.size, x.middle
    variance = square - mean**2
    if not 0 < variance < math.inf:
        return float(mean < start)
    places = x.pairs.both if x.layout.positions else x.pairs.samples
    c = max(0.0, min((places - mean**2) / variance, 1 - 1e-9))
    away = (start - mean) / math.sqrt(variance) - DEPTH * math.sqrt(1 - c)
    return NormalDist().cdf(away / math.sqrt(c)) if c > 0 else float(away > 0)


def born_dead(widths: list[int]) -> float:
    """1 − Π (1 − 2^−N): an upper bound of the share of initialisations in which all units of some layer are silent.

    Of ReLU layers of N units without biases.  Lu, Shin, Su, Karniadakis (2019), arXiv:1903.06733.
    """
    return 1 - math.prod(1 - 0.5**width for width in widths)


class Silent:
    """Counts silent units in a pass on real values."""

    def __init__(self, roles: Mapping[int, str]) -> None:
        self.roles = roles
        """By node, what the axes of its input mean."""
        self.shares: dict[int, float] = {}

    def look(self, node: int, law: Any, args: tuple[Any, ...]) -> None:
        """Notes the share of the silent units among those that this activation receives."""
        roles = self.roles.get(node)
        start = edge(law.activation) if law is not None and roles else None
        if roles is None or start is None or not isinstance(args[0], Tensor) or args[0].ndim != len(roles):
            return
        x = args[0].detach().double()
        over = [axis for axis, role in enumerate(roles) if role != "F"]
        deviation, mean = torch.std_mean(x, dim=over, correction=0)
        seldom = mean + DEPTH * deviation <= start  # as of normal numbers, where there are few samples
        if math.prod(x.shape[axis] for axis in over) >= ENOUGH:
            seldom = torch.ones_like(seldom)
        silent = (x.amax(dim=over) <= start) & seldom
        self.shares[node] = float(silent.double().mean())
