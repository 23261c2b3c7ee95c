"""PReLU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("prelu")
@dataclass(frozen=True)
class PReLU(Swap):
    """f(x) = x for x ≥ 0, a·x below, with one learnt slope a for each activation, and weights drawn for it.

    When: units are dead under ReLU and it is not clear which slope below zero suits.
    Why: the slope below zero gets a gradient of its own, so a layer can open it as far as the data asks for.
    Not: exploding gradients; and weight decay on the slopes, which pulls them back to ReLU.

    Source: He, Zhang, Ren and Sun (2015), arXiv:1502.01852; the start a = 0.25 is theirs.
    """

    name = "prelu"
    reference = Reference("He, Zhang, Ren and Sun", 2015, "Delving deep into rectifiers", "1502.01852")
    treats = ("vanishing", "saturated", "dead")

    def layer(self) -> nn.Module:
        return nn.PReLU()
