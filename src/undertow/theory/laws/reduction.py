"""Means and sums over whole axes, and the bookkeeping of axes that go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from undertow.theory.laws.averaging import Mixing
from undertow.theory.laws.base import Call, Law, law
from undertow.theory.signal import Delta, Layout, Pairs, Signal


@law("mean", "sum")
@dataclass(frozen=True)
class Reduced(Law):
    """y = (1/n) Σ x over whole axes, or Σ x:  E[y²] = (E[x²] + (n − 1) E[x x′])/n for two places x, x′ of what is
    averaged; two units of a wide layer have E[x x′] = E[x]².  Every x gets δy/n.
    """

    dims: tuple[int, ...] = field(kw_only=True)
    total: bool = field(kw_only=True)
    """A sum: n times the mean."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        dims = axes_of(call, bool(call.argument(2, "keepdim", False)))
        return (
            None if len(call.given) != 1 or dims is None else cls(call.shape, dims=dims, total=call.operation == "sum")
        )

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        y = _over_units(x, self._count(x.layout, "F"))
        y = _over_samples(y, self._count(x.layout, "S"))
        mixed = self._mixing(x.layout).signal(y, x.layout)
        factor = self._factor(x.layout)
        keepdim = len(self.shape) == len(x.layout.shape)
        square = without(x, self.dims, mixed.square * factor, keepdim)
        mean = without(x, self.dims, mixed.mean * math.sqrt(factor), keepdim)
        layout = left_over(x.layout, self.dims, self.shape)
        return replace(mixed, layout=layout, square=square, mean=mean, pairs=mixed.pairs.times(factor))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        wide = replace(delta, square=within(x, self.dims, delta.square))
        back = self._mixing(x.layout).back(wide)
        units, samples = self._count(x.layout, "F"), self._count(x.layout, "S")
        factor = self._factor(x.layout) / (units * samples) ** 2
        pairs = back.pairs.times(factor)
        if samples > 1:
            alike = back.size * factor
            pairs = Pairs(alike, pairs.positions, pairs.positions)
        square = (back.square * factor).expand(x.square.shape[0], *back.square.shape[1:])
        return (replace(back, square=square, pairs=pairs),)

    def _count(self, source: Layout, role: str) -> int:
        fine = math.prod(source.merged) if role == "S" and 0 in self.dims else 1
        return math.prod(source.shape[d] for d in self.dims if source.roles[d] == role) // fine

    def _factor(self, source: Layout) -> float:
        return math.prod(source.shape[d] for d in self.dims) ** 2 if self.total else 1.0

    def _mixing(self, source: Layout) -> Mixing:
        fine = source.apart
        sizes = [n for n, role in zip(fine.shape, fine.roles, strict=True) if role == "P"]
        gone = [axis in self.dims for axis in _positions(source)]
        return Mixing(tuple(_mean_of(n) if g else _same(n) for n, g in zip(sizes, gone, strict=True)))


def _mean_of(n: int) -> Tensor:
    return torch.full((1, n), 1 / n, dtype=torch.float64)


def _same(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def _over_units(x: Signal, n: int) -> Signal:
    square = x.mean.square() + (x.square - x.mean.square()) / n
    return replace(x, square=square) if n > 1 else x


def _over_samples(x: Signal, n: int) -> Signal:
    if n <= 1:
        return x
    square = (x.square.mean(0, keepdim=True) + (n - 1) * x.pairs.samples) / n
    positions = (x.pairs.positions + (n - 1) * x.pairs.both) / n
    return replace(x, square=square, mean=x.mean.mean(0, keepdim=True), pairs=Pairs(0.0, positions, 0.0))


def axes_of(call: Call, keepdim: bool) -> tuple[int, ...] | None:
    """The axes that a reduction takes away; None where the shape of its output says otherwise."""
    ndim, dim = len(call.given[0]), call.argument(1, "dim", call.kwargs.get("axis"))
    if isinstance(dim, bool) or not (dim is None or isinstance(dim, int | tuple | list)):
        return None
    dims: tuple[Any, ...] = tuple(range(ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    dims = tuple(sorted({int(d) % ndim for d in dims})) or tuple(range(ndim))
    kept = tuple(1 if a in dims else n for a, n in enumerate(call.given[0]) if keepdim or a not in dims)
    return dims if kept == call.shape else None


def left_over(source: Layout, dims: tuple[int, ...], shape: tuple[int, ...]) -> Layout:
    if len(shape) == len(source.shape):
        return source.of(shape)
    roles = "".join(r for a, r in enumerate(source.roles) if a not in dims)
    return Layout(shape, roles, () if 0 in dims else source.merged)


def without(x: Signal, dims: tuple[int, ...], moments: Tensor, keepdim: bool = False) -> Tensor:
    """A map over x's positions, averaged over those that go."""
    gone = [1 + i for i, d in enumerate(_positions(x.layout)) if d in dims]
    return moments.mean(gone, keepdim=keepdim) if gone else moments


def within(x: Signal, dims: tuple[int, ...], moments: Tensor) -> Tensor:
    """The opposite: with axes of length 1 for the positions that went."""
    places = _positions(x.layout)
    if moments.ndim == 1 + len(places):
        return moments
    for i, d in enumerate(places):
        if d in dims:
            moments = moments.unsqueeze(1 + i)
    return moments


def _positions(source: Layout) -> list[int]:
    """The axis of each position; merged ones are on the first."""
    return [0] * len(source.merged) + [a for a, r in enumerate(source.roles) if r == "P"]
