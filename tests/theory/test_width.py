"""What layers of finite width add: the scatter over initialisations, and how much of it a batch shares."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.theory.width import Scatter

WIDTH, DEPTH, SEEDS = 64, 16, 120


def network(act: type[nn.Module], orthogonal: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        if orthogonal:
            nn.init.orthogonal_(linear.weight)
        else:
            nn.init.normal_(linear.weight, 0, math.sqrt((2 if act is nn.ReLU else 1) / WIDTH))
        nn.init.zeros_(linear.bias)
        layers += [linear, act()]
    return nn.Sequential(*layers)


def samples(batch: int) -> torch.Tensor:
    """All of one size, that every seed's forecast be the same."""
    return nn.functional.normalize(torch.randn(batch, WIDTH)) * math.sqrt(WIDTH)


def logarithms(act: type[nn.Module], batch: int) -> list[float]:
    """ln of the backward rms at the first layer, for a cotangent of rms 1 at the end, by torch alone."""
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model, x = network(act), samples(batch)
        first = model[0](x)
        out = model[1:](first)
        cotangent = torch.randn_like(out)
        (grad,) = torch.autograd.grad(out, first, cotangent)
        found.append(math.log(grad.norm().item() / cotangent.norm().item()))
    return found


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_the_interval_is_as_wide_as_it_must_be(act: type[nn.Module], batch: int) -> None:
    torch.manual_seed(0)
    site = ut.forecast(network(act), samples(batch)).sites[0]
    measured = logarithms(act, batch)
    predicted = math.log(site.high / site.low) / (2 * 1.96)
    assert predicted == pytest.approx(statistics.stdev(measured), rel=0.3)
    # of one sample the forward pass's own scatter, which is not followed, moves the median of tanh by 0.14
    assert math.log(site.backward_rms) == pytest.approx(statistics.median(measured), abs=0.2 if batch == 1 else 0.1)
    inside = [site.low <= math.exp(value) <= site.high for value in measured]
    assert statistics.mean(inside) >= (0.85 if batch == 1 else 0.9)


def test_a_batch_scatters_less_than_a_sample() -> None:
    torch.manual_seed(0)
    model = network(nn.Tanh)
    one, many = (ut.forecast(model, samples(n)).flow.deltas[0] for n in (1, 64))
    assert one is not None
    assert many is not None
    assert 0 < many.spread < 0.5 * one.spread


def test_orthogonal_weights_scatter_only_by_slopes() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, WIDTH)
    random, orthogonal = (ut.forecast(network(nn.Identity, o), x).flow.deltas[0] for o in (False, True))
    assert random is not None
    assert orthogonal is not None
    # each further layer of n units adds ln(1 + 2/n)
    assert random.spread == pytest.approx(DEPTH * math.log1p(2 / WIDTH), rel=0.1)
    assert orthogonal.spread < 0.1 * random.spread


def test_one_linear_layer_is_a_wishart_matrix() -> None:
    """E‖Wu‖⁴ = (1 + 2/n)‖u‖⁴, and E(uᵀWᵀWv)² = (‖u‖²‖v‖² + 2 (u·v)²)/n + (u·v)²·(1 − 1/n) for unit variances 1/n."""
    torch.manual_seed(0)
    n, trials = 8, 40_000
    u, v = torch.zeros(n), torch.zeros(n)
    u[0], v[0], v[1] = 1.0, 0.6, 0.8
    w = torch.randn(trials, n, n) / math.sqrt(n)
    a, b = w @ u, w @ v
    size = a.square().sum(1)
    found = Scatter(1.0, 1.0, 0.36).weights(n)
    assert size.square().mean().item() == pytest.approx(found.alone, rel=0.03)
    assert (size * b.square().sum(1)).mean().item() == pytest.approx(found.shared, rel=0.03)
    assert (a * b).sum(1).square().mean().item() == pytest.approx(found.overlap, rel=0.03)
