"""Batch normalisation before each hidden activation."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.normalise import Normalise
from undertow.foundation import Reference


@CURES.register("batch_norm", "bn")
@dataclass(frozen=True)
class BatchNorm(Normalise):
    """y = γ · (x − mean) / √(var + ε) + β over the batch, in front of every hidden activation.

    When: the inputs of activations drift into their flat parts, or the size of the forward signal does with depth.
    Why: each activation gets inputs of mean 0 and variance 1 whatever the weights, so it stays in its steep part.
    Not: batches of a few samples; and a very deep network without residuals, where the gradient grows by about 1.2 a
    layer (Yang et al. 2019, arXiv:1902.08129).  The bias of the layer in front of it no longer does anything.

    Source: Ioffe and Szegedy (2015), arXiv:1502.03167.
    """

    name = "batch_norm"
    reference = Reference("Ioffe and Szegedy", 2015, "Batch normalization", "1502.03167")
    treats = ("vanishing", "exploding", "saturated", "dead")
