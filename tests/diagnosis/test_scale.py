"""A verdict doesn't depend on the loss's scale, on how a batch is cut, or on a clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.diagnosis import Finding, watch
from undertow.diagnosis.examples import mlp


def normalised() -> nn.Module:
    torch.manual_seed(0)
    parts = [m for i in range(4) for m in (nn.Linear(32 if i else 16, 32), nn.BatchNorm1d(32), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(32, 4))


NETS: dict[str, Callable[[], nn.Module]] = {
    "vanishing": lambda: mlp("sigmoid", depth=12),
    "exploding": lambda: mlp("relu", depth=12, he=True, gain=2.0),
    "healthy_plain": lambda: mlp("tanh", depth=4, gain=1.7),
    "healthy_normalised": normalised,
}


@dataclass(frozen=True)
class Way:
    """How the same training is run."""

    scale: float = 1.0
    accumulate: int = 1
    clip: float | None = None
    batch: int = 64
    adam: bool = True


WAYS = {
    "loss_x1e-6": Way(scale=1e-6),
    "loss_x1e5": Way(scale=1e5),
    "accumulated": Way(accumulate=4),
    "clipped": Way(clip=0.1),
    "batch_x4": Way(batch=256),
    "sgd_clipped_and_scaled": Way(scale=1e5, clip=0.01, adam=False),
}


def data(step: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(size, 16, generator=generator)
    teacher = torch.randn(16, 4, generator=torch.Generator().manual_seed(99))
    return x, (x @ teacher).argmax(1)


@cache
def findings(net: str, way: Way) -> tuple[Finding, ...]:
    model = NETS[net]()
    rule = torch.optim.Adam if way.adam else torch.optim.SGD
    optimizer = rule(model.parameters(), lr=1e-3)
    with watch(model, optimizer, budget=None) as run:
        for step in range(8):
            optimizer.zero_grad()
            for x, target in zip(*(t.chunk(way.accumulate) for t in data(step, way.batch)), strict=True):
                (F.cross_entropy(model(x), target) * way.scale / way.accumulate).backward()
            if way.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), way.clip)
            optimizer.step()
    return run.diagnose().findings


def verdict(net: str, way: Way) -> list[tuple[str, ...]]:
    return [(f.kind, f.severity, f.cause, f.where, str(f.step)) for f in findings(net, way)]


@pytest.mark.parametrize("net", NETS)
def test_the_plain_run_is_judged_as_planted(net: str) -> None:
    assert [f.kind for f in findings(net, Way())] == ([] if net.startswith("healthy") else [net])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", NETS)
def test_the_verdict_stays(net: str, way: str) -> None:
    assert verdict(net, WAYS[way]) == verdict(net, Way())


@pytest.mark.parametrize("way", ["loss_x1e-6", "loss_x1e5", "clipped"])
@pytest.mark.parametrize("net", ["vanishing", "exploding"])
def test_so_does_the_evidence_of_the_first_step(net: str, way: str) -> None:
    flow, plain = (next(e for e in findings(net, w)[0].evidence if e.name == "flow") for w in (WAYS[way], Way()))
    assert flow.value == pytest.approx(plain.value, rel=1e-3)


class Scaled(torch.nn.Module):
    """Each layer times a number: no weight and no slope is small, and the gradient dies all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(8))
        self.out = torch.nn.Linear(16, 4)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x) * 0.15)
        return self.out(x)


class Pooled(torch.nn.Module):
    """A mean over 4,096 positions hands each of them 1/4096 of the gradient, which is no fault."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.out(torch.tanh(self.first(x)).mean(1))


def test_a_product_with_a_number_counts_and_a_pooling_does_not():
    torch.manual_seed(0)
    target = torch.randint(4, (32,))
    loss = torch.nn.functional.cross_entropy
    assert [f.kind for f in ut.examine(Scaled(), (torch.randn(32, 16), target), loss).findings] == ["vanishing"]
    assert ut.examine(Pooled(), (torch.randn(32, 4096, 16), target), loss).findings == ()
