"""RMS normalisation before each hidden activation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES
from undertow.cures.surgery.normalise import Normalise
from undertow.foundation import Reference


@CURES.register("rms_norm")
@dataclass(frozen=True)
class RMSNorm(Normalise):
    """y = γ · x / √(mean x² + ε) over the features of one sample, in front of every hidden activation.

    When: as LayerNorm, at less cost: the mean is not taken off.
    Why: each sample has rms 1 over its features whatever the weights.
    Not: as LayerNorm; and inputs with a large common mean, which it keeps.

    Source: Zhang and Sennrich (2019), arXiv:1910.07467.
    """

    name = "rms_norm"
    reference = Reference("Zhang and Sennrich", 2019, "Root mean square layer normalization", "1910.07467")
    treats = ("vanishing", "exploding", "saturated", "dead")
    norm = nn.RMSNorm
