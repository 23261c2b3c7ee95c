"""What a model spells out in several calls is one site: an activation with its slope, or a normalisation."""

import math

import pytest
import torch
from torch import nn

import undertow as ut

SPELLED = {
    "swish": lambda x: x * torch.sigmoid(x),
    "quick_gelu": lambda x: torch.sigmoid(1.702 * x) * x,
    "gelu": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x.mul(torch.tanh(nn.functional.softplus(x))),
    "hardswish": lambda x: x * nn.functional.relu6(x + 3) / 6,
    "softsign": lambda x: x / (1 + x.abs()),
}


class Spelled(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.first, self.last, self.name = nn.Linear(8, 8), nn.Linear(8, 3), name

    def forward(self, x):
        return self.last(SPELLED[self.name](self.first(x)))


@pytest.mark.parametrize("name", SPELLED)
def test_an_activation_spelled_out_in_several_calls_is_one_site_with_its_slope(name):
    torch.manual_seed(0)
    model = Spelled(name)
    whole = nn.Sequential(model.first, ut.activation(name).layer(), model.last)
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    one, other = (ut.examine(m, batch, nn.functional.cross_entropy).ledger.entries for m in (whole, model))
    assert [e.site.effect for e in other] == ["weights", "activation", "weights"]
    assert other[1].site.name == f"forward:{name}#0"
    assert other[1].slope is not None
    assert (other[1].slope.activation, other[1].slope.mean) == (name, pytest.approx(one[1].slope.mean, rel=1e-5))
    assert [e.factor for e in other] == pytest.approx([e.factor for e in one], rel=1e-5)


def test_a_gate_of_another_signal_is_no_activation_of_one():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.first(x) * torch.sigmoid(self.gate(x)))

    batch = torch.randn(16, 8), torch.randint(3, (16,))
    ledger = ut.examine(Gate(), batch, nn.functional.cross_entropy).ledger
    assert [e.site.operation for e in ledger] == ["linear", "linear", "sigmoid", "mul", "linear"]


def layer_norm(x):
    deviation = x - x.mean(-1, keepdim=True)
    return deviation / torch.sqrt(deviation.pow(2).mean(-1, keepdim=True) + 1e-5)


def in_two_precisions(x):
    wide = x.double()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


NORMALISATIONS = {
    "rms_norm": (lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6), nn.RMSNorm(8, 1e-6)),
    "layer_norm": (layer_norm, nn.LayerNorm(8)),
    "normalize": (lambda x: x / x.norm(dim=-1, keepdim=True), None),
    "rms_norm in two precisions": (in_two_precisions, nn.RMSNorm(8, 1e-6)),
}


class Normal(nn.Module):
    def __init__(self, norm) -> None:
        super().__init__()
        self.first, self.last, self.norm = nn.Linear(8, 8), nn.Linear(8, 3), norm

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_normalisation_spelled_out_in_several_calls_is_one_site(name):
    spelled, layer = NORMALISATIONS[name]
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    torch.manual_seed(0)
    ledger = ut.examine(Normal(spelled), batch, nn.functional.cross_entropy).ledger
    assert [e.site.effect for e in ledger] == ["weights", "normalisation", "weights"]
    assert ledger.entries[1].site.operation == name.split()[0]
    if layer is not None:
        torch.manual_seed(0)
        whole = ut.examine(Normal(layer), batch, nn.functional.cross_entropy).ledger
        assert [e.factor for e in ledger] == pytest.approx([e.factor for e in whole], rel=1e-4)


def test_a_sum_of_squares_is_no_normalisation():
    def energy(x):
        return x * x.square().mean(-1, keepdim=True)

    batch = torch.randn(16, 8), torch.randint(3, (16,))
    ledger = ut.examine(Normal(energy), batch, nn.functional.cross_entropy).ledger
    assert "normalisation" not in {e.site.effect for e in ledger}
