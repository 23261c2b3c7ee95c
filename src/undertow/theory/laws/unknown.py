"""An operation without a law: bridged by a factor measured in one forward and backward pass through it alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.theory.laws.base import Call, Law, Slot
from undertow.theory.signal import Delta, Layout, Pairs, Signal


class Measured(NamedTuple):
    """Of one operation."""

    square: float
    """E[y²]"""
    mean: float
    """E[y]"""
    factors: list[float]
    """Per input E[δx²]/E[δy²]; NaN where no gradient comes back."""


@dataclass(frozen=True)
class Bridged(Law):
    """The ratios of sizes, measured with normal inputs of the sizes that arrive."""

    operation: str = field(kw_only=True)
    function: Callable[..., Any] = field(kw_only=True, repr=False, compare=False)
    args: tuple[Any, Any] = field(kw_only=True, repr=False, compare=False)
    given: tuple[tuple[int, ...], ...] = field(kw_only=True)
    formats: tuple[torch.dtype, ...] = field(kw_only=True)
    output: int = 0

    @classmethod
    def read(cls, call: Call) -> Law:
        return cls(
            call.shape,
            operation=call.operation,
            function=call.function,
            args=(call.args, dict(call.kwargs)),
            given=call.given,
            formats=call.formats,
            output=call.output,
        )

    def forward(self, *inputs: Signal) -> Signal:
        found = self._measured(inputs)
        x = max(inputs, key=lambda s: len(s.layout.shape))
        layout = Layout(self.shape, _roles(self.shape, x.layout))
        ones = torch.ones(x.square.shape[0], *[1] * layout.roles.count("P"), dtype=torch.float64)
        square, mean = (found.square, found.mean) if found else (x.size, x.middle)
        return replace(x, layout=layout, square=ones * square, mean=ones * mean, pairs=Pairs(), normal=False, places=0)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        measured = self._measured(inputs)
        factors = measured.factors if measured else [1.0] * len(inputs)
        size = delta.size
        found: list[Delta | None] = []
        for factor, x in zip(factors, inputs, strict=True):
            square = torch.full_like(x.square, size * factor)
            found.append(None if math.isnan(factor) else replace(delta, square=square, pairs=Pairs()))
        return tuple(found)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        return ("bridged",) if self._measured(inputs) else ("unmeasured",)

    def _measured(self, inputs: tuple[Signal, ...]) -> Measured | None:
        """None where the operation does not take such numbers."""
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            whole = zip(inputs, self.given, self.formats, strict=True)
            drawn = [_drawn(s, shape, dtype, generator) for s, shape, dtype in whole]
            args, kwargs = tree_map(lambda a: drawn[a.index] * 1.0 if isinstance(a, Slot) else _real(a), self.args)
            try:
                made = self.function(*args, **kwargs)
                y = [t for t in tree_leaves(made) if is_field(t)][self.output]
                cotangent = torch.randn(y.shape, generator=generator, dtype=y.dtype)
                grads = torch.autograd.grad(y, drawn, cotangent, allow_unused=True) if y.requires_grad else ()
            except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
                return None
        factors = [math.nan if g is None else _mean_square(g) for g in grads] or [math.nan] * len(drawn)
        return Measured(_mean_square(y), float(y.detach().real.double().mean()), factors)


def is_field(value: Any) -> bool:
    """Whether a value can be a signal: a tensor of real or complex numbers."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _mean_square(tensor: Tensor) -> float:
    return float(tensor.detach().abs().double().square().mean())


def _real(value: Any) -> Any:
    """Of a tensor of which only the shape is known: a mask of every other element, else zeros."""
    if not isinstance(value, FakeTensor):
        return value
    every = torch.arange(value.numel()).reshape(value.shape)
    return every % 2 == 0 if value.dtype == torch.bool else torch.zeros(value.shape, dtype=value.dtype)


def _drawn(signal: Signal, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    mean = signal.middle
    std = math.sqrt(max(signal.size - mean**2, 0.0))
    numbers = torch.randn(shape, generator=generator, dtype=dtype if dtype.is_complex else torch.float32)
    return (mean + std * numbers).to(dtype).requires_grad_()


def _roles(shape: tuple[int, ...], source: Layout) -> str:
    """Axes of the same place and length mean the same; else the first counts samples, the last units."""
    if len(shape) == len(source.shape):
        return source.roles
    return "S" + "P" * (len(shape) - 2) + "F" if len(shape) > 1 else "F" * len(shape)
