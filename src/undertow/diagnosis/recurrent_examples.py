"""Small recurrent runs for the rules that judge along time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis.rule import Example


class LastState(nn.Module):
    """A recurrent layer over (batch, time, 1), whose last state is read out."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.rnn, self.out = layer, nn.Linear(layer.hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1]).squeeze(-1)


def first_or_last(*, reads_first: bool, gain: float = 0.5, relu: bool = False, length: int = 30) -> Example:
    """Sequences of Gaussian numbers, of which the first or the last is to be told; recurrent weights gain · orthogonal.

    The last one takes no memory: a gradient that reaches back a few steps is all that it needs.
    """
    torch.manual_seed(0)
    layer = nn.RNN(1, 32, nonlinearity="relu" if relu else "tanh", batch_first=True)
    with torch.no_grad():
        nn.init.orthogonal_(layer.get_parameter("weight_hh_l0"), gain)
    model = LastState(layer)
    generator = torch.Generator().manual_seed(1)
    batches: list[tuple[Tensor, Tensor]] = []
    for _ in range(40):
        x = torch.randn(64, length, 1, generator=generator)
        batches.append((x, x[:, 0 if reads_first else -1, 0]))
    return Example(model, torch.optim.Adam(model.parameters(), 1e-2), F.mse_loss, batches)
