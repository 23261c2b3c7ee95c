"""Normalisations: what theory says of their signals and backward values against real modules."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from sizes import errors
from torch import Tensor, nn

from undertow.theory.forecast import forecast

WIDTH, DEPTH, BATCH = 256, 8, 32


class Rms(nn.Module):
    """RMSNorm as language models write it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of an image."""

    def forward(self, input: Tensor) -> Tensor:
        moved = F.layer_norm(input.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return moved.permute(0, 3, 1, 2)


def chain(norm, act, after: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, act(), norm(WIDTH)] if after else [linear, norm(WIDTH), act()]
    return nn.Sequential(*layers)


NORMS = {"BatchNorm1d": nn.BatchNorm1d, "LayerNorm": nn.LayerNorm, "RMSNorm": nn.RMSNorm, "by hand": Rms}


@pytest.mark.parametrize("after", [False, True], ids=["norm first", "activation first"])
@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("norm", NORMS)
def test_a_chain_of_normalised_layers(norm: str, act, after: bool):
    first, *_, last = errors(
        lambda: chain(NORMS[norm], act, after), lambda: torch.randn(BATCH, WIDTH), ["0", f"{3 * DEPTH - 1}"]
    )
    assert abs(first.backward) < 0.03 * DEPTH
    assert abs(last.forward) < 0.05


def test_relu_behind_batchnorm_grows_by_the_known_factor():
    """√(π/(π − 1)) a layer as the batch grows: Yang et al. (2019), arXiv:1902.08129."""
    torch.manual_seed(0)
    model = chain(nn.BatchNorm1d, nn.ReLU)
    theory = forecast(model, torch.randn(4096, WIDTH))
    deltas = [theory.flow.deltas[i] for i, site in theory.blueprint.sites if site.operation == "linear"]
    factors = [a.rms / b.rms for a, b in pairwise(deltas[2:]) if a and b]
    width = [WIDTH * float(m.weight.detach().square().mean()) / 2 for m in model if isinstance(m, nn.Linear)]
    assert math.prod(factors) ** (1 / len(factors)) == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=3e-3)
    assert math.prod(width) == pytest.approx(1, rel=0.05)  # He, as it was drawn


def test_a_batch_that_is_large_for_the_width_is_flagged():
    torch.manual_seed(0)
    flagged = [s for s in forecast(chain(nn.BatchNorm1d, nn.ReLU), torch.randn(WIDTH, WIDTH)).sites if s.flags]
    assert flagged
    assert all("batch_to_width" in s.flags for s in flagged)


@pytest.mark.parametrize(
    "norm",
    [lambda: nn.GroupNorm(4, 64), lambda: nn.InstanceNorm2d(64), lambda: ChannelNorm(64), lambda: nn.BatchNorm2d(64)],
    ids=["GroupNorm", "InstanceNorm", "LayerNorm over channels", "BatchNorm2d"],
)
def test_normalisations_of_images(norm):
    def make() -> nn.Module:
        blocks = [m for _ in range(4) for m in (nn.Conv2d(64, 64, 3, padding=1), norm(), nn.ReLU())]
        return nn.Sequential(*blocks)

    found = errors(make, lambda: torch.randn(8, 64, 12, 12), ["0", "4", "7", "11"], seeds=3)
    for at in found:
        assert abs(at.forward) < 0.05
        assert abs(at.backward) < 0.15


def test_learnt_scale_and_shift_are_read_as_they_are():
    def make() -> nn.Module:
        model = chain(nn.LayerNorm, nn.Tanh)
        for m in model:
            if isinstance(m, nn.LayerNorm):
                nn.init.normal_(m.weight, 1.5, 0.5)
                nn.init.normal_(m.bias, 0, 0.5)
        return model

    first, last = errors(make, lambda: torch.randn(BATCH, WIDTH), ["0", f"{3 * DEPTH - 1}"])
    assert abs(first.backward) < 0.03 * DEPTH
    assert abs(last.forward) < 0.03


def test_frozen_statistics_of_batchnorm_are_used():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    model[1].eval()
    model[1].running_var.fill_(4.0)
    sites = forecast(model, torch.randn(32, 64)).sites
    assert sites[1].forward_rms == pytest.approx(sites[0].forward_rms / 2, rel=1e-3)


def test_a_module_of_the_users_own_that_is_no_norm_is_not_taken_for_one():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((64,), 3.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * x

    torch.manual_seed(0)
    sites = forecast(nn.Sequential(nn.Linear(64, 64), Scaled()), torch.randn(32, 64)).sites
    assert sites[1].forward_rms == pytest.approx(3 * sites[0].forward_rms)
    assert sites[0].backward_rms == pytest.approx(3, rel=1e-3)
