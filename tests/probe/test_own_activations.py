"""An activation of this package is seen however a model uses it: as a layer, or called by itself in forward."""

import torch
from torch import nn

import undertow as ut


class Called(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.act = ut.activation("swish", beta=1.5)

    def forward(self, x):
        return self.last(self.act(self.first(x)))


def factors(model: nn.Module) -> list[tuple[str, float]]:
    torch.manual_seed(1)
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    ledger = ut.examine(model, batch, nn.functional.cross_entropy).ledger
    assert ledger.entries[1].slope is not None
    assert ledger.entries[1].slope.activation == "swish"
    return [(e.site.effect, e.factor) for e in ledger]


def test_called_by_itself_or_as_a_layer_the_account_is_the_same():
    called = Called()
    layered = nn.Sequential(called.first, called.act.layer(), called.last)
    assert [effect for effect, _ in factors(called)] == ["weights", "activation", "weights"]
    assert factors(called) == factors(layered)
