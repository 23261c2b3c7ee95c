"""Swish instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("swish", "silu")
@dataclass(frozen=True)
class Swish(Swap):
    """f(x) = x·σ(x) in place of every hidden activation, with weights drawn for it.

    When: activation derivatives take the gradient, or units are dead under ReLU.
    Why: smooth, with a derivative near 1 for large inputs that is not 0 below them.
    Not: exploding gradients; in very deep plain networks its derivative still averages below 1.

    Source: Ramachandran, Zoph and Le (2017), arXiv:1710.05941; as SiLU in Elfwing, Uchibe and Doya (2017),
    arXiv:1702.03118.
    """

    name = "swish"
    reference = Reference("Ramachandran, Zoph and Le", 2017, "Searching for activation functions", "1710.05941")
    treats = ("vanishing", "saturated", "dead")

    def layer(self) -> nn.Module:
        return nn.SiLU()
