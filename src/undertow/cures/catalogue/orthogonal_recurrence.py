"""Orthogonal recurrent weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.recurrence import recurrent_weights
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("orthogonal_recurrence")
@dataclass(frozen=True)
class OrthogonalRecurrence(Cure):
    """WᵀW = I for the weights from state to state, for each gate of its own.

    When: the gradient of a recurrent layer dies or grows from time step to time step.
    Why: a step then keeps the length of what it carries, but for the derivative of the activation.
    Not: a tanh whose inputs lie far from zero, whose derivative takes the gradient anyway: there a gated layer helps.

    Source: Le, Jaitly and Hinton (2015), arXiv:1504.00941 (identity weights); Henaff, Szlam and LeCun (2016),
    arXiv:1602.06662 (orthogonal ones).
    """

    name = "orthogonal_recurrence"
    reference = Reference(
        "Henaff, Szlam and LeCun", 2016, "Recurrent orthogonal networks and long-memory tasks", "1602.06662"
    )
    treats = ("vanishing", "exploding", "nonfinite", "unstable_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if any(True for _ in recurrent_weights(training.model)) else say("cures.refused.no_recurrence")

    def change(self, training: Training) -> None:
        for weight, gates in recurrent_weights(training.model):
            with torch.no_grad():
                for part in weight.chunk(gates):
                    nn.init.orthogonal_(part)

    def patch(self, training: Training) -> str:
        return (
            "from torch import nn\n\n"
            "for name, weight in model.named_parameters():\n"
            '    if "weight_hh" in name:\n'
            "        for gate in weight.data.split(weight.shape[1]):\n"
            "            nn.init.orthogonal_(gate)\n"
        )
