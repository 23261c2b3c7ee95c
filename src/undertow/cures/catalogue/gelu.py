"""GELU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("gelu")
@dataclass(frozen=True)
class GELU(Swap):
    """f(x) = x·Φ(x) in place of every hidden activation, with weights drawn for it.

    When: activation derivatives take the gradient, or units are dead under ReLU; the usual choice in transformers.
    Why: smooth, with a derivative near 1 for large inputs that is not 0 just below zero.
    Not: exploding gradients; and very deep plain networks, where its variance-preserving point is unstable.

    Source: Hendrycks and Gimpel (2016), arXiv:1606.08415.
    """

    name = "gelu"
    reference = Reference("Hendrycks and Gimpel", 2016, "Gaussian error linear units (GELUs)", "1606.08415")
    treats = ("vanishing", "saturated", "dead")

    def layer(self) -> nn.Module:
        return nn.GELU()
