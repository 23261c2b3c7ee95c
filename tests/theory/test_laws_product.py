"""Products, gates and functions spelled out by hand, against real modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sizes import errors
from torch import Tensor, nn

from undertow.activations import activation
from undertow.theory.forecast import forecast
from undertow.theory.laws import Activate

WIDTH = 256


class Gated(nn.Module):
    """A feed-forward block with a gate; `how` spells it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.up, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.both, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        for layer in (self.up, self.gate, self.both, self.down):
            nn.init.normal_(layer.weight, 0, 1.5 / WIDTH**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "SwiGLU":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        if self.how == "chunk":
            a, b = self.both(x).chunk(2, dim=-1)
            return self.down(a * torch.sigmoid(b))
        return self.down(F.glu(self.both(x)))


@pytest.mark.parametrize("how", ["SwiGLU", "chunk", "glu"])
def test_gated_linear_units(how: str):
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), Gated(how))

    first, last = errors(make, lambda: torch.randn(128, WIDTH), ["0", "1.down"])
    assert abs(first.backward) < 0.1
    assert abs(last.forward) < 0.1


class Spelled(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.linear, self.function, self.last = nn.Linear(64, 64), function, nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.linear(x)))


SPELLED = {
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_function_that_is_spelled_out_is_the_function(name: str):
    torch.manual_seed(0)
    x, model = torch.randn(16, 64), Spelled(SPELLED[name])
    spelled = forecast(model, x)
    model.function = getattr(F, name)
    called = forecast(model, x)
    assert spelled.sites[1].site.operation == activation(name).name
    assert [(s.forward_rms, s.backward_rms) for s in spelled.sites] == [
        pytest.approx((s.forward_rms, s.backward_rms), rel=1e-9) for s in called.sites
    ]


def test_a_function_of_nobodys_catalogue_is_integrated_as_it_is():
    """x² σ(x): the product of two functions of one tensor is no product of two signals."""
    torch.manual_seed(0)
    model = Spelled(lambda x: x * x * torch.sigmoid(x))
    theory = forecast(model, torch.randn(16, 64))
    laws = [n.law for n in theory.blueprint.nodes if n.site is not None and n.site.operation == "mul"]
    assert isinstance(laws[-1], Activate)
    found = errors(
        lambda: Spelled(lambda x: x * x * torch.sigmoid(x)), lambda: torch.randn(256, 64), ["linear", "last"]
    )
    assert abs(found[0].backward) < 0.25
    assert abs(found[1].forward) < 0.1


def test_squeeze_and_excitation():
    class Excited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.down, self.up = nn.Conv2d(64, 64, 1), nn.Linear(64, 16), nn.Linear(16, 64)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
            return x * gate[:, :, None, None]

    found = errors(lambda: nn.Sequential(Excited()), lambda: torch.randn(8, 64, 6, 6), ["0.conv", "0"], seeds=3)
    assert abs(found[1].forward) < 0.1
    assert abs(found[0].backward) < 0.1
