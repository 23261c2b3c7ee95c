"""An operation without a law: bridged by a factor measured in one forward and backward pass through it alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.theory.laws.base import Call, Law, Slot
from undertow.theory.signal import Delta, Layout, Pairs, Signal

MOST = 1 << 22
"""Values of the largest tensor that is made to measure an operation."""


@dataclass(frozen=True)
class Bridged(Law):
    """The ratios of sizes, measured with normal inputs of the sizes that arrive."""

    operation: str = field(kw_only=True)
    function: Callable[..., Any] = field(kw_only=True, repr=False, compare=False)
    args: tuple[Any, Any] = field(kw_only=True, repr=False, compare=False)
    given: tuple[tuple[int, ...], ...] = field(kw_only=True)
    output: int = 0

    @classmethod
    def read(cls, call: Call) -> Law:
        return cls(
            call.shape,
            operation=call.operation,
            function=call.function,
            args=(call.args, dict(call.kwargs)),
            given=call.given,
            output=call.output,
        )

    def forward(self, *inputs: Signal) -> Signal:
        square, mean, _ = self._measured(inputs)
        x = max(inputs, key=lambda s: len(s.layout.shape))
        layout = Layout(self.shape, _roles(self.shape, x.layout))
        ones = torch.ones(x.square.shape[0], *[1] * layout.roles.count("P"), dtype=torch.float64)
        return replace(x, layout=layout, square=ones * square, mean=ones * mean, pairs=Pairs(), normal=False)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        _, _, factors = self._measured(inputs)
        size = float(delta.square.mean())
        found: list[Delta | None] = []
        for factor, x in zip(factors, inputs, strict=True):
            square = torch.full_like(x.square, size * factor)
            found.append(None if math.isnan(factor) else replace(delta, square=square, pairs=Pairs()))
        return tuple(found)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        return ("bridged",)

    def _measured(self, inputs: tuple[Signal, ...]) -> tuple[float, float, list[float]]:
        """E[y²], E[y] and per input E[δx²]/E[δy²]; NaN where no gradient comes back."""
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            drawn = [_drawn(s, shape, generator) for s, shape in zip(inputs, self.given, strict=True)]
            args, kwargs = tree_map(lambda a: drawn[a.index] * 1.0 if isinstance(a, Slot) else a, self.args)
            made = self.function(*args, **kwargs)
            y = [t for t in tree_leaves(made) if isinstance(t, Tensor) and t.is_floating_point()][self.output]
            square, mean = float(y.detach().double().square().mean()), float(y.detach().double().mean())
            if not y.requires_grad:
                return square, mean, [math.nan] * len(drawn)
            cotangent = torch.randn(y.shape, generator=generator)
            grads = torch.autograd.grad(y, drawn, cotangent, allow_unused=True)
        factors = [math.nan if g is None else float(g.double().square().mean()) for g in grads]
        return square, mean, factors


def _drawn(signal: Signal, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    mean = float(signal.mean.mean())
    std = math.sqrt(max(float(signal.square.mean()) - mean**2, 0.0))
    return (mean + std * torch.randn(shape, generator=generator)).requires_grad_()


def _roles(shape: tuple[int, ...], source: Layout) -> str:
    """Axes of the same place and length mean the same; else the first counts samples, the last units."""
    if len(shape) == len(source.shape):
        return source.roles
    return "S" + "P" * (len(shape) - 2) + "F" if len(shape) > 1 else "F" * len(shape)
