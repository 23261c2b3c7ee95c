"""A weight that is computed before it is used is no signal: the ledger has the layers alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from undertow.diagnosis import examine
from undertow.record import Ledger


def ledger_of(model: nn.Module) -> Ledger:
    batch = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3
    return examine(model, batch, F.cross_entropy).ledger


WAYS = {
    "spectral norm by a hook": spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight norm": parametrizations.weight_norm,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_prepared_weight_adds_no_site(way: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(WAYS[way](nn.Linear(8, 8)), nn.Tanh(), WAYS[way](nn.Linear(8, 8)), nn.Linear(8, 3))
    ledger = ledger_of(model)
    assert [e.site.name for e in ledger] == ["0#0", "1#0", "2#0", "3#0"]
    assert [e.site.effect for e in ledger] == ["weights", "activation", "weights", "weights"]


class Mixed(nn.Module):
    """Scales a weight by a trained number and by a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(8, 8) / 3), nn.Parameter(torch.ones(1))
        self.frozen, self.head = nn.Parameter(torch.ones(1), requires_grad=False), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        unit = self.frozen.exp() / self.frozen.exp()
        return self.head(F.linear(x, self.weight * self.scale.exp() * unit))


def test_a_frozen_preparation_hides_no_layer() -> None:
    assert [e.site.operation for e in ledger_of(Mixed())] == ["linear", "linear"]


def test_the_first_layers_read_nothing_else_that_takes_a_gradient_and_are_sites() -> None:
    layers = nn.Sequential(nn.PReLU(), nn.LayerNorm(8), nn.Linear(8, 3))
    layers[1].weight.requires_grad_(False)
    assert [e.site.effect for e in ledger_of(layers)] == ["activation", "normalisation", "weights"]
