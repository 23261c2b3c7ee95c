"""The networks and the batch on which the article's statements about gradients are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.demo import split

WIDTH = 64
HE = math.sqrt(2)


def batch(size: int = 256) -> tuple[Tensor, Tensor]:
    """The first training images of the digits and their labels."""
    digits = split()
    return digits.x[:size], digits.y[:size]


def net(name: str, depth: int, gain: float | None = None, batch_norm: bool = False) -> nn.Sequential:
    """`depth` layers of 64; N(0, gain²/fan_in) weights and no bias, or torch's own initialisation without a gain."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(depth):
        norm = [nn.BatchNorm1d(WIDTH)] if batch_norm else []
        parts += [nn.Linear(WIDTH, WIDTH), *norm, ut.activation(name).layer()]
    model = nn.Sequential(*parts, nn.Linear(WIDTH, 10))
    for module in model:
        if gain is not None and isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, gain / math.sqrt(module.in_features))
            nn.init.zeros_(module.bias)
    return model


def examine(model: nn.Module) -> ut.Diagnosis:
    return ut.examine(model, batch(), F.cross_entropy)


def left(name: str, depth: int, gain: float | None = None, batch_norm: bool = False) -> float:
    """What the depth leaves of the backward value: rms at the first site over rms at the last."""
    return examine(net(name, depth, gain, batch_norm)).ledger.end_to_end


def flat(model: nn.Module) -> float:
    """Share of saturated inputs, mean over the layers."""
    shares = [entry.slope.flat for entry in examine(model).ledger if entry.slope is not None]
    return sum(shares) / len(shares)


class Trained(NamedTuple):
    losses: list[float]
    norms: list[float]
    """Of the gradient as the optimizer received it."""
    findings: tuple[ut.Finding, ...]


def train(
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer], clip: float | None = None, steps: int = 40
) -> Trained:
    """The exploding net, 12 ReLU layers at twice He's gain, for `steps` steps of 32 images."""
    model, digits, losses = net("relu", 12, 2 * HE), split(), []
    chosen = optimizer(model.parameters())
    with ut.watch(model, optimizer=chosen, budget=0) as run:
        for x, y in zip(digits.x.split(32)[:steps], digits.y.split(32)[:steps], strict=True):
            chosen.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            chosen.step()
            losses.append(loss.item())
    return Trained(losses, [s.gradient_norm for s in run.recording.steps], run.diagnose().findings)


class Attention(nn.Module):
    """One head of self-attention, the softmax inside."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = F.softmax(q @ k.transpose(-1, -2) / 4, dim=-1)
        return self.out((weights @ v).mean(1))
