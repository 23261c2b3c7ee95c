"""Parts that are not used by every sample or step, and units that are mostly off."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from benchmarks.score.data import LETTERS, Skip, cross_entropy, digits, fit, he, mlp, moons, text
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn
from torch.nn.utils import prune


class Experts(nn.Module):
    """Each sample goes to the one expert that the router likes best, scaled by how much it does."""

    def __init__(self, width: int = 32, experts: int = 16) -> None:
        super().__init__()
        self.inp, self.router = nn.Linear(64, width), nn.Linear(width, experts)
        self.experts = nn.ModuleList(mlp([width, 32, width]) for _ in range(experts))
        self.out = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.inp(x))
        weight, chosen = self.router(h).softmax(-1).max(-1)
        mixed = torch.zeros_like(h)
        for i, expert in enumerate(self.experts):
            rows = (chosen == i).nonzero()[:, 0]
            if len(rows):
                mixed = mixed.index_add(0, rows, weight[rows, None] * expert(h[rows]))
        return self.out(h + mixed)


@healthy(good=0.95)
def mixture_of_experts() -> Training:
    """Top-1 routing over 16 experts with batches of 16: most experts are not called in a step, some never."""
    return fit(Experts(), digits(), batch=16, steps=500)


class Bag(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(4096, 16, mode="mean", sparse=sparse)
        self.out = nn.Linear(16, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        pairs = x[:, :-1] * 64 + x[:, 1:]
        return self.out(torch.tanh(self.table(pairs[:, -1:])))


@healthy(good=0.25)
def sparse_embedding() -> Training:
    """Pairs of letters out of 4,096 with sparse gradients: most rows are never seen."""
    data = text(8)
    data = data._replace(y=data.y[:, -1])
    return fit(Bag(sparse=True), data, optimizer="sgd", lr=20.0, steps=800)


@healthy(good=0.9)
def pruned() -> Training:
    """Nine of ten weights are masked to zero; rows of a layer may be wholly zero."""
    model = mlp([64, 128, 128, 10], init=he)
    for i in (1, 2):
        prune.random_unstructured(model.get_submodule(f"hidden{i}"), "weight", amount=0.9)
    return fit(model, digits(), lr=3e-3)


@healthy(good=0.95)
def constant_pixels() -> Training:
    """Raw pixels, some of them zero in every image: columns of weights that never get a gradient."""
    data = digits(scale=False)
    return fit(mlp([64, 64, 64, 10], init=he), data._replace(x=data.x / 16), steps=400)


@healthy(good=0.95)
def few_dead_units() -> Training:
    """A third of the units of a wide layer is dead from the start; the rest is enough."""
    model = mlp([64, 192, 64, 10], init=he)
    layer = model.get_submodule("hidden1")
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.bias[:64] = -100.0
    return fit(model, digits())


@healthy(good=0.9)
def sparsity_penalty() -> Training:
    """An L1 penalty on the hidden units drives nearly all of them to zero on each sample."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(64, 256), nn.Linear(256, 10)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            h = torch.relu(self.hidden(x))
            return (self.out(h), h) if self.training else self.out(h)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        out, hidden = model(batch[0])
        return F.cross_entropy(out, batch[1]) + 0.01 * hidden.mean(0).sum()

    return fit(Model(), digits(), loss=loss, steps=400)


@healthy(good=0.9)
def heavy_dropout() -> Training:
    """Eight of ten units are off at every step."""
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.8), nn.Linear(256, 256), nn.ReLU())
    model.extend([nn.Dropout(0.8), nn.Linear(256, 10)])
    return fit(model, digits(), steps=400)


class Dropped(nn.Module):
    """A residual block that half of the steps leave out (stochastic depth, Huang et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) < 0.5:
            return x
        return x + self.body(x)


@healthy(good=0.95)
def stochastic_depth() -> Training:
    """Whole blocks are not called in half of the steps."""
    return fit(nn.Sequential(nn.Linear(64, 64), *(Dropped(64) for _ in range(8)), nn.Linear(64, 10)), digits())


class Heads(nn.Module):
    """Three heads, of which one is used, one weighs little and one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([64, 64, 64], init=he)
        self.main, self.side, self.unused = nn.Linear(64, 10), nn.Linear(64, 2), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = torch.relu(self.body(x))
        return (self.main(h), self.side(h)) if self.training else self.main(h)


@healthy(good=0.95)
def auxiliary_heads() -> Training:
    """A head whose loss weighs 1e-4, and a head that nothing calls."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        main, side = model(batch[0])
        return F.cross_entropy(main, batch[1]) + 1e-4 * F.cross_entropy(side, batch[1] % 2)

    return fit(Heads(), digits(), loss=loss)


class RadialBasis(nn.Module):
    """exp(-|x - centre|² / 2 width²): each unit is off nearly everywhere."""

    def __init__(self, units: int, width: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(moons().x[torch.randperm(1000)[:units]].clone())
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(x, self.centres).square() / (2 * self.width**2))


@healthy(good=0.97)
def radial_basis() -> Training:
    """Units that answer to a small part of the plane only."""
    return fit(nn.Sequential(RadialBasis(100, 0.15), nn.Linear(100, 2)), moons(), lr=0.05, steps=200)


@healthy(good=0.95)
def hard_activations() -> Training:
    """Hardtanh, ReLU6, hard sigmoid gates: flat at both ends on purpose."""
    model = nn.Sequential(nn.Linear(64, 96), nn.Hardtanh(), nn.Linear(96, 96), nn.ReLU6(), nn.Linear(96, 96))
    model.extend([nn.Hardswish(), nn.Linear(96, 96), nn.Hardsigmoid(), nn.Linear(96, 10)])
    return fit(model, digits(), lr=2e-3, steps=400)


@healthy(good=0.9)
def shrinkage() -> Training:
    """Soft thresholds that are zero for most of what comes in."""
    model = nn.Sequential(nn.Linear(64, 256), nn.Softshrink(0.8), nn.Linear(256, 256), nn.Softshrink(0.3))
    model.append(nn.Linear(256, 10))
    return fit(model, digits(), steps=400)


@healthy(good=0.95)
def narrow_waist() -> Training:
    """Three units in the middle of a network of 128; everything passes through them."""
    model = mlp([64, 128, 3, 128, 10], lambda: nn.LeakyReLU(0.1))
    return fit(model, digits(), lr=3e-3, steps=900)


@healthy(good=0.95)
def rare_branch() -> Training:
    """A branch that only every tenth step uses."""
    model = nn.ModuleDict(
        {"stem": mlp([64, 64, 64], init=he), "rare": Skip(nn.Linear(64, 64)), "out": nn.Linear(64, 10)}
    )
    calls = iter(range(10**6))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, x: Tensor) -> Tensor:
            h = self.parts["stem"](x)
            if self.training and next(calls) % 10 == 9:
                h = self.parts["rare"](h)
            return self.parts["out"](torch.relu(h))

    return fit(Model(), digits(), loss=cross_entropy)
