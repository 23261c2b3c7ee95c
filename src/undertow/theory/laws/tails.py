"""How the values of an activation are spread over the units or places that a normalisation takes together."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from undertow.activations import Pointwise
from undertow.theory.quadrature import gaussian_nodes
from undertow.theory.signal import Signal


class Tails(NamedTuple):
    """Of values f with the middle m, of normal ones unless it is known what made them."""

    kurtosis: float = 3.0
    """E[(f − m)⁴]/E[(f − m)²]²"""
    steep: float = 0.0
    """E[f′² (f − m)²]/(E[f′²] E[(f − m)²]) − 1 of the activation that made them: how much steeper it is where it is far
    from m.  Where s² = mean (f − m)² is of n values, E[f′²/s²] is smaller than E[f′²] E[1/s²] by this over n, and the
    direction x̂ that δ loses takes with it as much more than its share."""


def tails(x: Signal, centred: bool = True) -> Tails:
    """With m = E[f], or 0 where not `centred`."""
    made = x.drawn
    return Tails() if x.normal or made is None or made.activation is None else _tails(*made[:3], centred)


@lru_cache(maxsize=256)
def _tails(activation: Pointwise, variance: float, mean: float, centred: bool) -> Tails:
    u, w = gaussian_nodes(mean, variance, activation.kinks)
    at = torch.from_numpy(u).unsqueeze(1).expand(-1, activation.channels)
    with torch.no_grad():
        f, slope = activation(at).mean(1).numpy(), activation.derivative(at).mean(1).numpy()
    away, steep = (f - (w @ f if centred else 0.0)) ** 2, slope**2
    size = float(w @ away)
    if not size or not float(w @ steep):
        return Tails()
    return Tails(float(w @ away**2) / size**2, float(w @ (steep * away)) / (float(w @ steep) * size) - 1)
