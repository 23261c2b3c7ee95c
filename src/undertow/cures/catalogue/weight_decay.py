"""Weight decay for an optimizer that has none."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from undertow.cures.cure import CURES, Cure
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("weight_decay", "decay")
@dataclass(frozen=True)
class WeightDecay(Cure):
    """θ ← (1 − η·λ) · θ beside each step, λ = `plain` for SGD and `decoupled` for Adam.

    When: weights grow through the whole run, until the units saturate, the logits overflow or the gradient explodes.
    Why: a weight stops growing where the decay takes off what the gradient adds.
    Not: a fault that is there at the start; vanishing gradients, which it makes worse; a short run, in which η·λ·steps
    stays far below 1 and it does nothing.  It acts on biases and norms too, which are mostly given none.

    Source: Krogh and Hertz (1991), A simple weight decay can improve generalization, NeurIPS; decoupled from Adam's
    division by Loshchilov and Hutter (2017), arXiv:1711.05101.  5·10⁻⁴ is common for SGD since Krizhevsky et al.
    (2012), 0.01 is torch's for AdamW.
    """

    name = "weight_decay"
    reference = Reference("Krogh and Hertz", 1991, "A simple weight decay can improve generalization")
    treats = ("exploding", "saturated", "nonfinite")
    plain: float = 5e-4
    decoupled: float = 0.01

    def applies(self, training: Training) -> str | None:
        if not isinstance(training.optimizer, (torch.optim.SGD, torch.optim.Adam)):
            return say("cures.refused.decays_otherwise", optimizer=type(training.optimizer).__name__)
        decays = any(group["weight_decay"] for group in training.optimizer.param_groups)
        return say("cures.refused.decays") if decays else None

    def change(self, training: Training) -> None:
        for group in training.optimizer.param_groups:
            group.update(self._settings(training))

    def patch(self, training: Training) -> str:
        lines = [f'    group["{key}"] = {value!r}' for key, value in self._settings(training).items()]
        return "\n".join(["for group in optimizer.param_groups:", *lines]) + "\n"

    def _settings(self, training: Training) -> dict[str, float | bool]:
        if isinstance(training.optimizer, torch.optim.Adam):
            return {"weight_decay": self.decoupled, "decoupled_weight_decay": True}
        return {"weight_decay": self.plain}
