"""Zeros on purpose: what starts closed and opens by itself."""

from __future__ import annotations

import torch
from benchmarks.score.data import Skip, cancer, diabetes, digits, fit, he, images, mlp
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


def zero(layer: nn.Module) -> nn.Module:
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


@healthy(good=0.95)
def zero_head() -> Training:
    """The last layer starts at zero: no gradient reaches the others in the first step."""
    model = mlp([64, 64, 64, 10], init=he)
    zero(model.get_submodule("out"))
    return fit(model, digits())


@healthy(good=0.3)
def zero_value_head() -> Training:
    """A regression whose one output unit starts at zero, as value heads do."""
    model = mlp([10, 64, 64, 1], nn.Tanh)
    zero(model.get_submodule("out"))
    return fit(model, diabetes(), steps=200)


class LowRank(nn.Module):
    """weight frozen, plus B·A, where B starts at zero (Hu et al. 2021)."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@healthy(good=0.9)
def low_rank_adapters() -> Training:
    """Adapters with B = 0 on a frozen network: A gets no gradient in the first step, the base never any."""
    data = digits()
    base = mlp([64, 64, 64, 10], init=he)
    fit(base, data, steps=150).train()
    names = ["hidden1", "act1", "hidden2", "act2", "out"]
    parts = [base.get_submodule(n) for n in names]
    model = nn.Sequential(*(LowRank(p) if isinstance(p, nn.Linear) else p for p in parts))
    shuffled_pixels = data._replace(x=data.x.flip(1))
    return fit(model, shuffled_pixels, lr=5e-3, steps=400)


class Gated(nn.Module):
    """x + alpha · body(x), where alpha starts at zero (Bachlechner et al. 2020)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.alpha = body, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * self.body(x)


@healthy(good=0.95)
def rezero() -> Training:
    """Twenty blocks behind gates of zero: no weight of a block has a gradient at first."""
    blocks = [Gated(nn.Sequential(nn.Linear(64, 64), nn.ReLU())) for _ in range(20)]
    return fit(nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10)), digits())


@healthy(good=0.95)
def fixup() -> Training:
    """No norm; the last layer of each block, and the head, start at zero (Zhang et al. 2019)."""
    blocks = [Skip(nn.Linear(64, 64), nn.ReLU(), zero(nn.Linear(64, 64))) for _ in range(12)]
    return fit(nn.Sequential(nn.Linear(64, 64), *blocks, zero(nn.Linear(64, 10))), digits())


@healthy(good=0.9)
def zero_gamma() -> Training:
    """The last BatchNorm of each block starts at γ = 0 (Goyal et al. 2017)."""

    def block() -> nn.Module:
        last = nn.BatchNorm2d(16)
        nn.init.zeros_(last.weight)
        conv = [nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2)]
        return Skip(conv[0], nn.BatchNorm2d(16), nn.ReLU(), conv[1], last)

    stem = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    pool = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)]
    model = nn.Sequential(*stem, *(block() for _ in range(4)), *pool)
    return fit(model, images(), optimizer="sgd", lr=0.1, momentum=0.9, steps=120)


class Coupling(nn.Module):
    """Half of the features scaled and shifted by what a small net says of the others; it says nothing at first."""

    def __init__(self, width: int, flip: bool) -> None:
        super().__init__()
        half = width // 2
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(half, 64), nn.ReLU(), zero(nn.Linear(64, 2 * half)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, 1)
        if self.flip:
            a, b = b, a
        scale, shift = self.net(a).chunk(2, 1)
        scale = torch.tanh(scale)
        return torch.cat([a, b * scale.exp() + shift], 1), scale.sum(1)


class Flow(nn.Module):
    def __init__(self, width: int, depth: int = 6) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Coupling(width, flip=True) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """log-likelihood of each row, but for a constant"""
        total = torch.zeros(len(x))
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        return total - 0.5 * x.square().sum(1)


@healthy(good=3.0)
def normalising_flow() -> Training:
    """RealNVP: each coupling starts as the identity; the loss goes below zero. Metric: nats gained."""
    data = cancer()
    start = -0.5 * data.x.square().sum(1).mean().item()

    def gained(model: nn.Module) -> float:
        with torch.no_grad():
            return model(data.x).mean().item() - start

    return fit(Flow(30), data, loss=lambda m, b: -m(b[0]).mean(), metric=gained, steps=250)


class Conditioned(nn.Module):
    """A block whose scale, shift and gate come from a condition, through a layer that starts at zero (DiT)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.body = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.modulation = nn.Sequential(nn.SiLU(), zero(nn.Linear(width, 3 * width)))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift, gate = self.modulation(condition).chunk(3, 1)
        return x + gate * self.body(self.norm(x) * (1 + scale) + shift)


class Denoiser(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.inp, self.time = nn.Linear(64, width), nn.Linear(1, width)
        self.blocks = nn.ModuleList(Conditioned(width) for _ in range(4))
        self.out = zero(nn.Linear(width, 64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h, condition = self.inp(x), self.time(time)
        for block in self.blocks:
            h = block(h, condition)
        return self.out(h)


@healthy(good=0.2)
def diffusion() -> Training:
    """adaLN-Zero and a zero output layer: the blocks have no gradient in the first two steps."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        time, noise = torch.rand(len(batch[0]), 1), torch.randn_like(batch[0])
        return (model((1 - time) * batch[0] + time * noise, time) - noise).square().mean()

    def explained(model: nn.Module) -> float:
        with torch.no_grad():
            return 1 - loss(model, (digits().x, digits().y)).item()

    return fit(Denoiser(), digits(), loss=loss, metric=explained, steps=300)


@healthy(good=0.95)
def identity_start() -> Training:
    """Square layers that start as the identity: units with one nonzero weight each."""
    model = mlp([64, 64, 64, 64, 10], lambda: nn.LeakyReLU(0.2))
    for i in (1, 2, 3):
        layer = model.get_submodule(f"hidden{i}")
        assert isinstance(layer, nn.Linear)
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return fit(model, digits())
