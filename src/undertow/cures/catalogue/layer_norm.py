"""Layer normalisation before each hidden activation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.normalise import Normalise
from undertow.foundation import Reference


@CURES.register("layer_norm", "ln")
@dataclass(frozen=True)
class LayerNorm(Normalise):
    """y = γ · (x − mean) / √(var + ε) + β over the features of one sample, in front of every hidden activation.

    When: the size of the forward signal drifts with depth, and batches are small or of varying length.
    Why: each sample has mean 0 and variance 1 over its features whatever the weights, without a look at the others.
    Not: a loss to the activation's own derivative, which stays: a deep sigmoid network still vanishes; features that
    carry their meaning in their common size.

    Source: Ba, Kiros and Hinton (2016), arXiv:1607.06450.
    """

    name = "layer_norm"
    reference = Reference("Ba, Kiros and Hinton", 2016, "Layer normalization", "1607.06450")
    treats = ("vanishing", "exploding", "saturated", "dead")
    norm = nn.LayerNorm
