"""SGD with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from undertow.cures.cure import CURES, Cure
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("momentum", "sgd_momentum")
@dataclass(frozen=True)
class Momentum(Cure):
    """v ← μ·v + g, θ ← θ − lr·v in place of plain stochastic gradient descent.

    When: the loss falls, but slowly, along directions in which the gradient keeps its sign.
    Why: steps in one direction add up to 1/(1 − μ) of one, those that change sign cancel.
    Not: steps that are too long already, which it makes ten times longer; a gradient that does not arrive.

    Source: Sutskever, Martens, Dahl and Hinton (2013), On the importance of initialization and momentum in deep
    learning, ICML; μ = 0.9 is common practice.
    """

    name = "momentum"
    reference = Reference(
        "Sutskever, Martens, Dahl and Hinton",
        2013,
        "On the importance of initialization and momentum in deep learning",
    )
    treats = ("too_small_lr",)
    momentum: float = 0.9

    def applies(self, training: Training) -> str | None:
        if not isinstance(training.optimizer, torch.optim.SGD):
            return say("cures.refused.not_sgd", optimizer=type(training.optimizer).__name__)
        return say("cures.refused.has_momentum") if training.optimizer.param_groups[0]["momentum"] else None

    def change(self, training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["momentum"] = self.momentum

    def patch(self, training: Training) -> str:
        return f'for group in optimizer.param_groups:\n    group["momentum"] = {self.momentum!r}\n'
