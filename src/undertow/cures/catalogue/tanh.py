"""Tanh instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("tanh")
@dataclass(frozen=True)
class Tanh(Swap):
    """f(x) = tanh x in place of every hidden activation, with weights drawn for it.

    When: the hidden activation is a sigmoid, or one that grows without bound and explodes.
    Why: its derivative at 0 is 1, four times that of the sigmoid, and its outputs have mean 0 and stay within ±1.
    Not: a loss of gradient to tanh itself; inputs far from zero, where it is flat.

    Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp; Glorot and Bengio (2010), AISTATS.
    """

    name = "tanh"
    reference = Reference("LeCun, Bottou, Orr and Müller", 1998, "Efficient BackProp")
    treats = ("vanishing", "exploding", "nonfinite")

    def layer(self) -> nn.Module:
        return nn.Tanh()
