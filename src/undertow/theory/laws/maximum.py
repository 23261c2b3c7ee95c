"""Maxima over positions: max pooling, adaptive or over all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations import Pointwise
from undertow.theory.laws.base import Call, Law, law, like
from undertow.theory.laws.positions import full, returned
from undertow.theory.laws.reduction import axes_of, left_over, within, without
from undertow.theory.laws.unknown import Bridged
from undertow.theory.signal import Delta, Drawn, Layout, Pairs, Signal

COMMON, OWN, REACH = 24, 400, 6.0
"""Nodes of the part that all positions share, and of each one's own within ±REACH: the moments to about 1e-3."""


class Largest(NamedTuple):
    """Of the largest of k values f(u), as shares of what one of them has."""

    mean: float
    """E[max] / √E[f²]"""
    square: float
    """E[max²] / E[f²]"""
    slope: float
    """E[f′² there] / E[f′²]"""


def largest(drawn: Drawn, k: int) -> Largest:
    """For u = m + √q (√c z + √(1−c) e) with z shared:  P(max ≤ y) = ∫ P(f(u) ≤ y | z)^k dz."""
    c = min(max(drawn.correlation, 0.0), 1.0)
    z, w_z = np.polynomial.hermite_e.hermegauss(COMMON)
    e = np.linspace(-REACH, REACH, OWN)
    w = np.exp(-e * e / 2) / np.exp(-e * e / 2).sum()
    u = drawn.mean + math.sqrt(drawn.variance) * (math.sqrt(c) * z[:, None] + math.sqrt(1 - c) * e)
    f, slopes = _values(drawn.activation, u)
    order = f.argsort(axis=1, kind="stable")
    at_most = np.take_along_axis(np.broadcast_to(w, f.shape), order, 1).cumsum(axis=1)
    chance = np.diff(at_most**k, axis=1, prepend=0.0) * (w_z / w_z.sum())[:, None]
    f_max, slope_max = (np.take_along_axis(a, order, 1) for a in (f, slopes))
    one = (w_z / w_z.sum())[:, None] * w
    square, slope = float((one * f * f).sum()), float((one * slopes).sum())
    mean_square = float((chance * f_max * f_max).sum())
    root = math.sqrt(square) if square else 1.0
    return Largest(
        float((chance * f_max).sum()) / root,
        mean_square / square if square else 1.0,
        float((chance * slope_max).sum()) / slope if slope else 1.0,
    )


def _values(act: Pointwise | None, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f and f′² at u; u itself where it goes through no activation."""
    if act is None:
        return u, np.ones_like(u)
    x = torch.from_numpy(u).reshape(-1, 1).expand(-1, act.channels)
    with torch.no_grad():
        f, df = act(x).mean(1), act.derivative(x).square().mean(1)
    return f.reshape(u.shape).numpy(), df.reshape(u.shape).numpy()


@law(*(f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3)))
@dataclass(frozen=True)
class MaxPool(Law):
    """y = max of k positions x = f(u), u normal with the mean correlation of two positions:  u = √c z + √(1−c) e,
    P(max ≤ y | z) = P(f(u) ≤ y | z)^k.

    Each δy goes to one x, with an equal chance: E[δx²] is the sum over its windows of E[δy²]/k.  It goes where f is
    steep; `Delta.tilt` tells the activation.
    """

    size: tuple[int, ...] = field(kw_only=True)
    """Of a window."""
    options: tuple[tuple[str, Any], ...] = field(kw_only=True)
    adaptive: bool = False
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if len(call.given) != 1 or call.output:
            return None
        dims = int(call.operation[-2])
        sizes, out = call.given[0][-dims:], call.shape[-dims:]
        if call.operation.startswith("adaptive"):
            windows = tuple(max(1, round(n / m)) for n, m in zip(sizes, out, strict=True))
            return cls(call.shape, size=windows, options=(), adaptive=True)
        size = _each(call.argument(1, "kernel_size"), dims)
        stride, padding = call.argument(2, "stride"), call.argument(3, "padding", 0)
        if _each(call.argument(4, "dilation", 1), dims) != (1,) * dims:
            return None
        options = (("stride", _each(stride, dims) if stride else size), ("padding", _each(padding, dims)))
        ceil = bool(call.argument(5, "ceil_mode", False))
        return cls(call.shape, size=size, options=(*options, ("ceil_mode", ceil)))

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        grow, of = self._largest(x)
        square = self._spread(full(x.square, self._sizes(x))) * grow
        return maximum_of(x, square, of, like(x, self.shape))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        k, onto = math.prod(self.size), full(delta.square, self._sizes(output))
        back = returned(self._spread, onto, self._sizes(x))
        pairs = delta.pairs.times(float(back.mean()) / float(onto.mean()) / k if onto.any() else 0.0)
        return (replace(delta, square=back, pairs=pairs, tilt=self._largest(x)[1].slope, lean=None),)

    def _largest(self, x: Signal) -> tuple[Tensor, Largest]:
        """E[max²]/E[f²] over the windows, those at the border being smaller, and the mean of all."""
        drawn, counts = drawn_of(x), self._counts(x)
        of = {int(k): largest(drawn, int(k)) for k in counts.unique()}
        grow = torch.tensor([of[int(k)].square for k in counts.flatten()], dtype=torch.float64).reshape(counts.shape)
        shares = {k: float((counts == k).double().mean()) for k in of}
        return grow, Largest(*(sum(of[k][i] * share for k, share in shares.items()) for i in range(3)))

    def _counts(self, x: Signal) -> Tensor:
        """How many positions each window holds."""
        k = math.prod(self.size)
        if self.adaptive:
            return torch.full((1, *self.shape[-len(self.size) :]), k)
        pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(self.size) - 1]
        ones = torch.ones(1, 1, *self._sizes(x), dtype=torch.float64)
        return (pool(ones, self.size, **dict(self.options)).squeeze(1) * k).round().long().clamp(min=1)

    def _sizes(self, x: Signal) -> tuple[int, ...]:
        return x.layout.shape[-len(self.size) :]

    def _spread(self, squares: Tensor) -> Tensor:
        """The mean over each window."""
        dims, x = len(self.size), squares.unsqueeze(1)
        if self.adaptive:
            pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
            return pool(x, self.shape[-dims:]).squeeze(1)
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
        return pool(x, self.size, **dict(self.options), count_include_pad=False).squeeze(1)


@law("amax", "max")
@dataclass(frozen=True)
class MaxOver(Law):
    """The largest over whole axes; of axes other than positions the factor is measured, as of what has no law."""

    dims: tuple[int, ...] = field(kw_only=True)
    otherwise: Law = field(kw_only=True)

    @classmethod
    def read(cls, call: Call) -> Law | None:
        dims = axes_of(call, keepdim := bool(call.argument(2, "keepdim", False)))
        if len(call.given) != 1 or dims is None or call.output or keepdim != (len(call.shape) == len(call.given[0])):
            return None
        return cls(call.shape, dims=dims, otherwise=Bridged.read(call))

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        if not self._over_positions(x):
            return self.otherwise.forward(x)
        of = largest(drawn_of(x), self._count(x))
        keepdim = len(self.shape) == len(x.layout.shape)
        square = without(x, self.dims, x.square, keepdim) * of.square
        return maximum_of(x, square, of, left_over(x.layout, self.dims, self.shape))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        if not self._over_positions(x):
            return self.otherwise.backward(delta, output, x)
        k = self._count(x)
        square = within(x, self.dims, delta.square) / k
        tilt = largest(drawn_of(x), k).slope
        return (replace(delta, square=square, pairs=delta.pairs.times(1 / k**2), tilt=tilt, lean=None),)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        return () if self._over_positions(inputs[0]) else self.otherwise.flags(*inputs)

    def _over_positions(self, x: Signal) -> bool:
        return all(x.layout.roles[d] == "P" for d in self.dims)

    def _count(self, x: Signal) -> int:
        return math.prod(x.layout.shape[d] for d in self.dims)


def drawn_of(x: Signal) -> Drawn:
    """What x is made of; itself where it is normal, and as good as that where its origin is not known."""
    if not x.normal and x.drawn is not None:
        return x.drawn
    mean = x.middle
    variance = max(x.size - mean**2, 0.0)
    return Drawn(None, variance, mean, (x.pairs.positions - mean**2) / variance if variance else 1.0)


def maximum_of(x: Signal, square: Tensor, of: Largest, layout: Layout) -> Signal:
    """Two maxima have as large a share of their variance in common as two values."""
    size, mean = x.size, x.middle
    middle = of.mean * math.sqrt(size)
    before, after = size - mean**2, size * of.square - middle**2
    shares = ((p - mean**2) / before if before > 0 else 1.0 for p in x.pairs)
    pairs = Pairs(*(middle**2 + after * min(max(share, 0.0), 1.0) for share in shares))
    means = (square / of.square).sqrt() * of.mean
    return replace(x, layout=layout, square=square, mean=means, pairs=pairs, normal=False, places=0, drawn=None)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return (int(value),) * dims if isinstance(value, int) else tuple(int(v) for v in (value * dims)[:dims])
