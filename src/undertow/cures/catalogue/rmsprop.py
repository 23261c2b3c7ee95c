"""RMSprop instead of the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from undertow.cures.cure import CURES
from undertow.cures.surgery.exchange import Exchange
from undertow.foundation import Reference


@CURES.register("rmsprop")
@dataclass(frozen=True)
class RMSprop(Exchange):
    """θ ← θ − lr · g / (√v + ε), with a running mean v of the squared gradient.

    When: the gradients explode, or differ by orders of magnitude between layers.
    Why: each weight's step is divided by its own gradient's size, which bounds it by about lr/√(1 − α) = 10 lr.
    Not: gradients below ε = 10⁻⁸; a forward pass that overflows; too large a learning rate.

    Source: Tieleman and Hinton (2012), lecture 6.5, Coursera; lr = 0.001 as recommended there and in Ruder (2016),
    arXiv:1609.04747 (torch's own default is 0.01).
    """

    name = "rmsprop"
    reference = Reference(
        "Tieleman and Hinton",
        2012,
        "Lecture 6.5, RMSprop: divide the gradient by a running average of its recent magnitude",
    )
    treats = ("vanishing", "exploding", "too_small_lr", "unstable_lr")
    optimizer = torch.optim.RMSprop
    lr: float = 1e-3
