"""Published ways to make deep residual nets trainable, judged by the forecast as well as by measurement."""

from __future__ import annotations

import math

import pytest
import torch
from sizes import errors
from torch import Tensor, nn

from undertow.theory.forecast import forecast

WIDTH, DEPTH = 128, 24


class Block(nn.Module):
    """One residual MLP block; `recipe` places the norm and the scales."""

    def __init__(self, recipe: str) -> None:
        super().__init__()
        self.recipe = recipe
        self.up, self.down, self.norm = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        for layer in (self.up, self.down):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.alpha = 1.0
        with torch.no_grad():
            if recipe == "DeepNorm":  # Wang et al. (2022), arXiv:2203.00555: α = (2N)^(1/4), β = (8N)^(−1/4)
                self.alpha = (2 * DEPTH) ** 0.25
                for layer in (self.up, self.down):
                    layer.weight.mul_((8 * DEPTH) ** -0.25 / math.sqrt(2))
            if recipe == "Fixup":  # Zhang, Dauphin, Ma (2019), arXiv:1901.09321: L^(−1/(2m−2)), m = 2; the last is 0
                self.up.weight.mul_(DEPTH**-0.5)
                self.down.weight.zero_()
        # ReZero: Bachlechner et al. (2020), arXiv:2003.04887, after some training
        self.scale = nn.Parameter(torch.tensor(0.1 if recipe == "ReZero" else 1.0))

    def forward(self, x: Tensor) -> Tensor:
        inside = self.norm(x) if self.recipe == "pre-norm" else x
        branch = self.scale * self.down(torch.relu(self.up(inside)))
        if self.recipe == "1/√L":  # as depth-wise μP scales each branch: Yang et al. (2023), arXiv:2310.02244
            branch = branch / math.sqrt(DEPTH)
        total = self.alpha * x + branch
        return self.norm(total) if self.recipe in ("DeepNorm", "post-norm") else total


def net(recipe: str) -> nn.Sequential:
    first = nn.Linear(WIDTH, WIDTH)
    nn.init.normal_(first.weight, 0, WIDTH**-0.5)
    return nn.Sequential(first, *(Block(recipe) for _ in range(DEPTH)))


RECIPES = ["plain", "post-norm", "pre-norm", "DeepNorm", "Fixup", "ReZero", "1/√L"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_forecast_judges_a_recipe_as_measurement_does(recipe: str):
    first, *_, last = errors(lambda: net(recipe), lambda: torch.randn(16, WIDTH), ["0", f"{DEPTH}"], seeds=3)
    assert abs(first.backward) < 0.2
    assert abs(last.forward) < 0.2


def test_what_the_recipes_are_for():
    """A plain stack doubles its variance a block; each recipe keeps the backward value within an order of magnitude."""
    torch.manual_seed(0)
    x = torch.randn(16, WIDTH)
    ratio = {recipe: forecast(net(recipe), x).end_to_end for recipe in RECIPES}
    assert ratio["plain"] > 1000
    assert all(0.1 < ratio[r] < 10 for r in ("pre-norm", "DeepNorm", "Fixup", "ReZero", "1/√L"))
    assert ratio["Fixup"] == pytest.approx(1, rel=1e-6)
