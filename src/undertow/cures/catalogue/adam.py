"""Adam instead of the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from undertow.cures.cure import CURES
from undertow.cures.surgery.exchange import Exchange
from undertow.foundation import Reference


@CURES.register("adam")
@dataclass(frozen=True)
class Adam(Exchange):
    """θ ← θ − lr · m̂ / (√v̂ + ε), with running means m̂ of the gradient and v̂ of its square.

    When: the gradients of the layers differ by orders of magnitude, but none is lost to the number format.
    Why: each weight's step is divided by its own gradient's size, so a gradient 10⁻⁴ as large moves as far.
    Not: gradients below ε = 10⁻⁸, whose steps vanish too; a forward pass that overflows; and a direction that depth
    has averaged away, which no step size brings back.

    Source: Kingma and Ba (2014), arXiv:1412.6980; lr = 0.001 is theirs.
    """

    name = "adam"
    reference = Reference("Kingma and Ba", 2014, "Adam: a method for stochastic optimization", "1412.6980")
    treats = ("vanishing", "exploding", "too_small_lr", "unstable_lr")
    optimizer = torch.optim.Adam
    lr: float = 1e-3
