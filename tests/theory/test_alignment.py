"""The backward value's alignment with the signal, and the corrections beside it, against torch."""

import math
import statistics

import pytest
import torch
from torch import nn

import undertow as ut


def measured(model: nn.Sequential, x: torch.Tensor, site: int) -> float:
    """ln of the backward rms at a module's output, for a standard normal cotangent."""
    passed = []
    for module in model:
        x = module(x)
        passed.append(x)
    (found,) = torch.autograd.grad(x, passed[site], torch.randn_like(x))
    return math.log(found.square().mean().sqrt())


def test_a_backward_value_along_a_signal_that_grows_is_more_than_mean_field_theory_says():
    """Matched weights of Softplus keep δ while the signal grows."""
    torch.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(12) for m in (nn.Linear(64, 64), nn.Softplus())))
    ut.init.match_(model)
    sizes = [layer.weight.detach().std().item() for layer in model[::2]]
    forecast, truth = ut.forecast(model, torch.randn(8, 64)), []
    for _ in range(300):
        for layer, size in zip(model[::2], sizes, strict=True):
            nn.init.normal_(layer.weight, 0, size)
        truth.append(measured(model, torch.randn(8, 64), 0))
    first = next(i for i, site in forecast.blueprint.sites if site.name == "0#0")
    scatter = statistics.stdev(truth) / math.sqrt(len(truth))
    without = math.log(forecast.flow.deltas[first].rms)
    missed = statistics.mean(truth) - without
    assert missed > 2 * scatter
    assert abs(statistics.mean(truth) - math.log(forecast["0"].backward_rms)) < missed / 2 + scatter


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_norm_behind_an_activation_hands_back_what_torch_does(norm):
    off = []
    for seed in range(12):
        torch.manual_seed(seed)
        model = nn.Sequential(*(m for _ in range(12) for m in (nn.Linear(48, 48), nn.SiLU(), norm(48))))
        x = torch.randn(16, 48)
        off.append(math.log(ut.forecast(model, x)["0"].backward_rms) - measured(model, x, 0))
    assert abs(statistics.mean(off)) < 3 * statistics.stdev(off) / math.sqrt(len(off)) + 0.03


class Block(nn.Module):
    """relu(x + norm(conv(x))) as residual networks have it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.norm, self.relu = nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.norm(self.linear(x)))


def test_a_relu_behind_a_shortcut_that_a_relu_made():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), Block(512)), torch.randn(64, 512)
    forecast, hidden = ut.forecast(model, x), model[1](model[0](x))
    y = model[2](hidden)
    assert forecast["2.relu"].forward_rms == pytest.approx(y.square().mean().sqrt().item(), rel=0.01)
    relative = math.log(forecast["0"].backward_rms / forecast["2.relu"].backward_rms)
    assert relative == pytest.approx(measured(model, x, 0), abs=0.03)
