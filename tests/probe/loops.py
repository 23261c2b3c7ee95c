"""Training loops of every kind, each noting by hand what is true at every stage of its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 6


@dataclass
class Truth:
    """What the loop knows; one number a step."""

    model: nn.Module
    received: list[float] = field(default_factory=list)
    """Norm of the gradients that the optimizer receives."""
    left: list[float] = field(default_factory=list)
    """Norm of what the backward passes had left."""
    passes: list[int] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    first: list[list[float]] = field(default_factory=list)
    """rms of the gradient at the output of each layer, in the first backward pass of the step."""


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def batches(count: int = STEPS, seed: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(16, 6, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def norm(parameters: Iterable[Tensor]) -> float:
    """√Σ g² in float64, rows of a sparse gradient added up first."""
    found = [p.grad for p in parameters if p.grad is not None]
    flat = [(g.coalesce().values() if g.is_sparse else g).double().flatten() for g in found]
    return torch.linalg.vector_norm(torch.cat(flat)).item()


def loss_of(model: nn.Module, x: Tensor, y: Tensor, truth: Truth | None = None) -> Tensor:
    """Cross-entropy; notes the backward values of a Sequential's layers by autograd.grad on a second graph."""
    if truth is not None and isinstance(model, nn.Sequential):
        outputs, h = [], x
        for layer in model:
            h = nn.Module.__call__(layer, h)
            outputs.append(h)
        gradients = torch.autograd.grad(F.cross_entropy(h, y), outputs)
        truth.first.append([g.double().square().mean().sqrt().item() for g in gradients])
    return F.cross_entropy(model(x), y)


def plain(truth: Truth, optimizer: torch.optim.Optimizer) -> None:
    for x, y in batches():
        optimizer.zero_grad()
        loss_of(truth.model, x, y, truth).backward()
        truth.received.append(norm(truth.model.parameters()))
        truth.passes.append(1)
        optimizer.step()


def accumulated(truth: Truth, optimizer: torch.optim.Optimizer, micro: int = 3, none: bool = True) -> None:
    data = batches(STEPS * micro)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=none)
        for index in range(micro):
            x, y = next(data)
            loss_of(truth.model, x, y, None if index else truth).backward()
        truth.received.append(norm(truth.model.parameters()))
        truth.passes.append(micro)
        optimizer.step()


def clipped(truth: Truth, optimizer: torch.optim.Optimizer, limit: float, clip: Callable[..., Any]) -> None:
    for x, y in batches():
        optimizer.zero_grad()
        loss_of(truth.model, x, y).backward()
        truth.left.append(norm(truth.model.parameters()))
        clip(truth.model.parameters(), limit)
        truth.received.append(norm(truth.model.parameters()))
        optimizer.step()


def clip_data(parameters: Iterable[Tensor], limit: float) -> None:
    """As old code does it: torch doesn't count what is written to `.data`."""
    parameters = list(parameters)
    factor = min(1.0, limit / norm(parameters))
    for p in parameters:
        if p.grad is not None:
            p.grad.data.mul_(factor)


def clip_replacing(parameters: Iterable[Tensor], limit: float) -> None:
    parameters = list(parameters)
    factor = min(1.0, limit / norm(parameters))
    for p in parameters:
        if p.grad is not None:
            p.grad = p.grad * factor


def by_hand(truth: Truth, rate: float = 0.1, data: bool = True) -> None:
    """No optimizer at all."""
    for x, y in batches():
        truth.model.zero_grad()
        loss_of(truth.model, x, y).backward()
        truth.received.append(norm(truth.model.parameters()))
        for p in truth.model.parameters():
            assert p.grad is not None
            if data:
                p.data -= rate * p.grad
            else:
                with torch.no_grad():
                    p -= rate * p.grad
