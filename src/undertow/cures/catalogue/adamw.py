"""AdamW instead of the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from undertow.cures.cure import CURES
from undertow.cures.surgery.exchange import Exchange
from undertow.foundation import Reference


@CURES.register("adamw")
@dataclass(frozen=True)
class AdamW(Exchange):
    """Adam's step, and θ ← θ − lr · λ · θ beside it: the weight decay is not divided by the gradient's size.

    When: as Adam; the usual choice for transformers.
    Why: each weight's step is divided by its own gradient's size, and weights that no gradient holds shrink.
    Not: as Adam; and biases, norms and embeddings, which are mostly given no decay: put them in a group of their own.

    Source: Loshchilov and Hutter (2017), arXiv:1711.05101; lr = 0.001 and λ = 0.01 are torch's;
    a group's own decay stays.
    """

    name = "adamw"
    reference = Reference("Loshchilov and Hutter", 2017, "Decoupled weight decay regularization", "1711.05101")
    treats = ("vanishing", "exploding", "too_small_lr", "unstable_lr")
    optimizer = torch.optim.AdamW
    lr: float = 1e-3
    decay: float = 0.01
