"""Depth without norms, weights that are shared or made of others, units that compete."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from benchmarks.score.data import Data, Skip, digits, fit, gain, he, mlp, moons, r_squared
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def explained(out: Tensor, x: Tensor) -> float:
    return 1 - (F.mse_loss(out, x) / x.var()).item()


class Highway(nn.Module):
    """x + gate · (body(x) - x), the gates nearly closed at first (Srivastava et al. 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.gate = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -4.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.gate(x)) * (torch.relu(self.body(x)) - x)


@healthy(good=0.95)
def highway() -> Training:
    """Twenty sigmoid gates that start at 0.02, so nearly flat."""
    return fit(
        nn.Sequential(nn.Linear(64, 50), *(Highway(50) for _ in range(20)), nn.Linear(50, 10)), digits(), lr=3e-3
    )


@healthy(good=0.9)
def orthogonal_tanh() -> Training:
    """Thirty tanh layers with orthogonal weights of a gain a little above 1."""
    model = mlp([64, *[64] * 30, 10], nn.Tanh, init=lambda w: nn.init.orthogonal_(w, 1.05))
    return fit(model, digits(), optimizer="sgd", lr=0.02, momentum=0.9, steps=200)


@healthy(good=0.9)
def self_normalising() -> Training:
    """Thirty SELU layers with LeCun weights."""
    model = mlp([64, *[64] * 30, 10], nn.SELU, init=gain(1.0))
    return fit(model, digits(), optimizer="sgd", lr=0.005, momentum=0.9, steps=250)


@healthy(good=0.93)
def he_twelve_deep() -> Training:
    """Twelve ReLU layers with He weights, no norm, no skips."""
    return fit(mlp([64, *[128] * 12, 10], init=he), digits(), lr=3e-4, steps=200)


class Sine(nn.Module):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.speed * x)


@healthy(good=0.9)
def periodic() -> Training:
    """SIREN: sin(30 x), with weights drawn for it; the curve of one row of a digit, ten waves long."""
    x = torch.linspace(-1, 1, 400)[:, None]
    y = torch.sin(20 * x[:, 0]) * torch.cos(7 * x[:, 0])
    model = nn.Sequential(nn.Linear(1, 64), Sine(30.0), nn.Linear(64, 64), Sine(30.0), nn.Linear(64, 1))
    with torch.no_grad():
        for i, layer in enumerate([model[0], model[2], model[4]]):
            assert isinstance(layer, nn.Linear)
            bound = 1.0 if i == 0 else math.sqrt(6 / 64) / 30
            layer.weight.uniform_(-bound, bound)
    return fit(model, Data(x, y, 1), lr=1e-3, steps=200, batch=200, metric=r_squared(Data(x, y, 1)))


class Equilibrium(nn.Module):
    """One layer again and again until it settles, which takes a different number of times."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(64, width), nn.Linear(width, 10)
        self.core = nn.Linear(width, width)
        with torch.no_grad():
            self.core.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        inp, h = self.inp(x), torch.zeros(len(x), 48)
        for _ in range(30):
            new = torch.tanh(self.core(h) + inp)
            settled = (new - h).detach().norm() < 0.1 * h.detach().norm()
            h = new
            if settled:
                break
        return self.out(h)


@healthy(good=0.95)
def equilibrium() -> Training:
    """Shared weights, of varying depth."""
    return fit(Equilibrium(), digits(), lr=2e-3, steps=250)


@healthy(good=0.95)
def neural_ode() -> Training:
    """Twenty Euler steps through the same small net."""

    class Solver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = mlp([4, 32, 4], nn.Tanh)
            self.out = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = F.pad(x, (0, 2))
            for _ in range(20):
                h = h + 0.05 * self.field(h)
            return self.out(h)

    return fit(Solver(), moons(), lr=0.02, steps=300)


@healthy(good=0.93)
def normed_weights() -> Training:
    """Spectral norm on one layer, weight norm on another, orthogonal by construction a third."""
    model = mlp([64, 64, 64, 64, 10], nn.ELU)
    parametrizations.spectral_norm(model.get_submodule("hidden1"))
    parametrizations.weight_norm(model.get_submodule("hidden2"))
    parametrizations.orthogonal(model.get_submodule("hidden3"))
    return fit(model, digits(), lr=3e-3, steps=200)


@healthy(good=0.7)
def tied_autoencoder() -> Training:
    """Decoder = encoder transposed."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.shift = nn.Linear(64, 32), nn.Parameter(torch.zeros(64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.encoder(x)) @ self.encoder.weight + self.shift

    data = digits()

    def metric(m: nn.Module) -> float:
        with torch.no_grad():
            return explained(m(data.x), data.x)

    return fit(Tied(), data, loss=lambda m, b: F.mse_loss(m(b[0]), b[0]), metric=metric, lr=5e-3, steps=500)


@healthy(good=0.9)
def maxout() -> Training:
    """The largest of four linear pieces: three of four have no gradient for a sample."""

    class Maxout(nn.Module):
        def __init__(self, fan_in: int, fan_out: int) -> None:
            super().__init__()
            self.pieces = nn.Linear(fan_in, 4 * fan_out)

        def forward(self, x: Tensor) -> Tensor:
            return self.pieces(x).unflatten(1, (-1, 4)).amax(2)

    return fit(nn.Sequential(Maxout(64, 32), Maxout(32, 32), nn.Linear(32, 10)), digits())


@healthy(good=0.9)
def competing_units() -> Training:
    """Only the ten strongest of 200 units speak."""

    class Strongest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            top = x.topk(10, dim=1)
            return torch.zeros_like(x).scatter(1, top.indices, torch.relu(top.values))

    return fit(nn.Sequential(nn.Linear(64, 200), Strongest(), nn.Linear(200, 10)), digits(), lr=3e-3)


@healthy(good=0.9)
def deep_sigmoid_residual() -> Training:
    """Sigmoids in branches, with a norm: each branch hands back little, the sum all of it."""
    blocks = [Skip(nn.LayerNorm(64), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64)) for _ in range(10)]
    return fit(nn.Sequential(nn.Linear(64, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, 10)), digits(), lr=3e-3)
