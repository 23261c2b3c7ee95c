"""What plain torch measures of one forward and backward pass: the truth that the forecast is held against.

Nothing of undertow is used here, so that an error of its taps can't hide one of its theory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Size(NamedTuple):
    """Root mean squares of a module's output and of the loss's gradient with respect to it."""

    forward: float
    backward: float


class Measured(NamedTuple):
    sites: dict[str, Size]
    """By `path#call`, in the order of the calls; containers too."""
    weights: dict[str, float]
    """Euclidean norms of the gradients of the parameters with two or more dimensions."""


def rms(t: Tensor) -> float:
    return t.detach().double().square().mean().sqrt().item()


def measure(model: nn.Module, given: Tensor, loss: Callable[[Tensor], Tensor]) -> Measured:
    outputs: dict[str, Tensor] = {}
    calls: Counter[str] = Counter()

    def listen(path: str) -> Callable[[nn.Module, object, object], None]:
        def heard(_module: nn.Module, _given: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor) and first.requires_grad:
                outputs[f"{path}#{calls[path]}"] = first
                calls[path] += 1

        return heard

    hooks = [m.register_forward_hook(listen(path)) for path, m in model.named_modules() if path]
    try:
        total = loss(model(given))
    finally:
        for hook in hooks:
            hook.remove()
    weights = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    found = torch.autograd.grad(total, [*outputs.values(), *weights.values()], allow_unused=True)
    gradients = dict(zip([*outputs, *weights], found, strict=True))
    return Measured(
        {name: Size(rms(t), _size(gradients[name])) for name, t in outputs.items()},
        {name: g.double().norm().item() for name in weights if (g := gradients[name]) is not None},
    )


def _size(gradient: Tensor | None) -> float:
    return math.nan if gradient is None else rms(gradient)
