"""ReLU instead of the hidden activations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.swap import Swap
from undertow.foundation import Reference


@CURES.register("relu")
@dataclass(frozen=True)
class ReLU(Swap):
    """f(x) = max(0, x) in place of every hidden activation, with weights drawn for it (gain √2).

    When: the ledger charges the loss of gradient to activation derivatives, as in deep sigmoid and tanh networks.
    Why: its derivative is exactly 1 on half of the inputs, where that of sigmoid is never above 1/4.
    Not: exploding gradients, which come from the weights and stay; and at a learning rate that suited small
    gradients, the swapped network may diverge.

    Source: Glorot, Bordes and Bengio (2011), Deep sparse rectifier neural networks, AISTATS; the gain from He et al.
    (2015), arXiv:1502.01852.
    """

    name = "relu"
    reference = Reference("Glorot, Bordes and Bengio", 2011, "Deep sparse rectifier neural networks")
    treats = ("vanishing", "saturated")

    def layer(self) -> nn.Module:
        return nn.ReLU()
