"""Sequences that forget, or cannot see, and a state that is cut."""

from __future__ import annotations

import torch
from benchmarks.score.data import Data, fit
from benchmarks.score.faulty.flow import Letter, first_of
from benchmarks.score.training import Training, faulty
from torch import Tensor, nn


@faulty("vanishing", cause="weights", where="rnn", good=0.9)
def closed_forget_gates(planted: bool) -> Training:
    """An LSTM whose forget gates start at a bias of -6, so that nothing lasts a step; sound: +1."""
    model = Letter(0.0, nn.LSTM)
    with torch.no_grad():
        model.rnn.get_parameter("bias_ih_l0")[32:64] = -6.0 if planted else 1.0
        model.rnn.get_parameter("bias_hh_l0")[32:64] = 0.0
    return fit(model, first_of(8), optimizer="sgd", lr=0.3, momentum=0.9, steps=1000)


class Cut(nn.Module):
    """A GRU cell whose state is detached at every step, by a line that belongs between batches."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.embed, self.cell, self.out, self.cut = nn.Embedding(4, 8), nn.GRUCell(8, 32), nn.Linear(32, 4), cut

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 32)
        for t in range(x.shape[1]):
            h = self.cell(self.embed(x[:, t]), h.detach() if self.cut else h)
        return self.out(h)


@faulty("disconnected|vanishing", cause="graph", good=0.9)
def state_cut_each_step(planted: bool) -> Training:
    """Nothing of the first letter's gradient ever comes back: all but the last step is cut off; sound: no detach."""
    return fit(Cut(planted), first_of(8), lr=3e-3, steps=400)


@faulty("saturated|vanishing", cause="input_scale", where="rnn", good=0.9)
def raw_signal(planted: bool) -> Training:
    """A signal in the thousands into a tanh recurrence: is its last value a small one? Sound: scaled."""
    x = torch.randn(1024, 16, 1)
    y = (x[:, -1, 0].abs() < 0.67).long()

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.RNN(1, 32, batch_first=True), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    return fit(Model(), Data(x * (3000.0 if planted else 1.0), y, 2), optimizer="sgd", lr=0.1, momentum=0.9, steps=400)
