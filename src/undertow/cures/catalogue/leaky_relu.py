"""Leaky ReLU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("leaky_relu")
@dataclass(frozen=True)
class LeakyReLU(Swap):
    """f(x) = x for x ≥ 0, slope·x below, in place of every hidden activation, with weights drawn for it.

    When: units are dead under ReLU, or activation derivatives take the gradient.
    Why: its derivative is nowhere 0, so a unit that is negative for every sample still learns.
    Not: exploding gradients; and where ReLU has no dead units it does what ReLU does.

    Source: Maas, Hannun and Ng (2013), Rectifier nonlinearities improve neural network acoustic models, ICML
    workshop; the slope 0.01 is theirs.
    """

    name = "leaky_relu"
    reference = Reference(
        "Maas, Hannun and Ng", 2013, "Rectifier nonlinearities improve neural network acoustic models"
    )
    treats = ("vanishing", "saturated", "dead")
    slope: float = 0.01

    def layer(self) -> nn.Module:
        return nn.LeakyReLU(self.slope)
