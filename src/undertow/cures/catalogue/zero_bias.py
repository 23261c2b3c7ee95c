"""Biases set to zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.training import Training
from undertow.foundation import Reference, say
from undertow.theory.matching import Weighted


@CURES.register("zero_bias")
@dataclass(frozen=True)
class ZeroBias(Cure):
    """b ← 0 in every linear and convolutional layer; the weights stay.

    When: a bias shifts a layer to where its activation is flat or zero, and the weights are sound.
    Why: the pre-activations are centred again, so about half of the units of a rectifier fire.
    Not: an output bias that was set on purpose (a prior of rare classes), which it wipes out too.

    Source: Goodfellow, Bengio and Courville (2016), Deep learning, section 8.4.
    """

    name = "zero_bias"
    reference = Reference("Goodfellow, Bengio and Courville", 2016, "Deep learning")
    treats = ("dead", "saturated")

    def applies(self, training: Training) -> str | None:
        found = any(isinstance(m, Weighted) and m.bias is not None and m.bias.any() for m in training.model.modules())
        return None if found else say("cures.refused.no_bias")

    def change(self, training: Training) -> None:
        for module in training.model.modules():
            if isinstance(module, Weighted) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def patch(self, training: Training) -> str:
        return (
            "from torch import nn\n\n"
            "for module in model.modules():\n"
            "    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and module.bias is not None:\n"
            "        nn.init.zeros_(module.bias)\n"
        )
