"""Forget gates that begin open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.recurrence import recurrent
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("forget_bias")
@dataclass(frozen=True)
class ForgetBias(Cure):
    """b_f ← bias for the forget gate of each LSTM, so that it begins at σ(bias).

    When: an LSTM does not learn what lies tens of steps back.
    Why: torch's gates begin at σ(0) = 1/2, which halves the cell's gradient at each step; at bias 3 it keeps 0.95.
    Not: tasks that must forget at once; and dependencies much longer than 1/(1 − σ(bias)) steps.

    Source: Gers, Schmidhuber and Cummins (2000), Learning to forget, Neural computation 12; Jozefowicz, Zaremba and
    Sutskever (2015), ICML, use 1.
    """

    name = "forget_bias"
    reference = Reference("Gers, Schmidhuber and Cummins", 2000, "Learning to forget: continual prediction with LSTM")
    treats = ("vanishing",)
    changes_network = True
    bias: float = 3.0

    def applies(self, training: Training) -> str | None:
        return None if list(_biases(training.model)) else say("cures.refused.no_lstm")

    def change(self, training: Training) -> None:
        with torch.no_grad():
            for name, bias in _biases(training.model):
                bias[len(bias) // 4 : len(bias) // 2] = self.bias if "bias_ih" in name else 0.0

    def patch(self, training: Training) -> str:
        return (
            "from torch import nn\n\n"
            "for layer in model.modules():\n"
            "    if isinstance(layer, (nn.LSTM, nn.LSTMCell)):\n"
            "        for name, bias in layer.named_parameters():\n"
            '            if "bias" in name:\n'
            f'                value = {self.bias!r} if "bias_ih" in name else 0.0\n'
            "                bias.data[len(bias) // 4 : len(bias) // 2] = value\n"
        )


def _biases(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for _, layer, _ in recurrent(model):
        if isinstance(layer, (nn.LSTM, nn.LSTMCell)):
            yield from ((name, p) for name, p in layer.named_parameters() if "bias" in name)
