"""SELU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("selu")
@dataclass(frozen=True)
class SELU(Swap):
    """f(x) = λ·x for x > 0, λ·α·(eˣ − 1) below, in place of every hidden activation, with weights drawn for it.

    When: a deep plain network loses or grows its signal, and normalisation is not wanted.
    Why: with weights of variance 1/fan_in mean 0 and variance 1 are a stable fixed point, so that each layer pulls
    the signal back to them.
    Not: ordinary dropout, convolutions with large zero padding and residual sums, which move the fixed point.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter (2017), arXiv:1706.02515; λ = 1.0507, α = 1.6733 are theirs.
    """

    name = "selu"
    reference = Reference(
        "Klambauer, Unterthiner, Mayr and Hochreiter", 2017, "Self-normalizing neural networks", "1706.02515"
    )
    treats = ("vanishing", "exploding", "saturated", "dead")

    def layer(self) -> nn.Module:
        return nn.SELU()
