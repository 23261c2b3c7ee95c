"""ELU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("elu")
@dataclass(frozen=True)
class ELU(Swap):
    """f(x) = x for x > 0, alpha·(eˣ − 1) below, in place of every hidden activation, with weights drawn for it.

    When: activation derivatives take the gradient, or units are dead under ReLU.
    Why: derivative 1 above 0 and outputs whose mean is near 0, which keeps the weight gradients of a layer apart.
    Not: exploding gradients; strongly negative units saturate at −alpha.

    Source: Clevert, Unterthiner and Hochreiter (2015), arXiv:1511.07289; alpha = 1 is theirs.
    """

    name = "elu"
    reference = Reference(
        "Clevert, Unterthiner and Hochreiter",
        2015,
        "Fast and accurate deep network learning by exponential linear units (ELUs)",
        "1511.07289",
    )
    treats = ("vanishing", "saturated", "dead")
    alpha: float = 1.0

    def layer(self) -> nn.Module:
        return nn.ELU(self.alpha)
