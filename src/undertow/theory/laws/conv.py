"""Convolutions and transposed convolutions: a map of variances over the positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.theory.laws.base import Call, Law, is_signal, law, level, mean_square
from undertow.theory.laws.positions import full, returned
from undertow.theory.signal import ALIKE, Delta, Layout, Pairs, Signal

FORWARD: dict[tuple[bool, int], Callable[..., Tensor]] = {
    (False, 1): F.conv1d,
    (False, 2): F.conv2d,
    (False, 3): F.conv3d,
    (True, 1): F.conv_transpose1d,
    (True, 2): F.conv_transpose2d,
    (True, 3): F.conv_transpose3d,
}
OPTIONS = {
    False: ("stride", "padding", "dilation"),
    True: ("stride", "padding", "output_padding", "groups", "dilation"),
}
"""What comes behind input, weight and bias, in torch's order; `groups` is fourth of a convolution."""


@law("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
@dataclass(frozen=True)
class Conv(Law):
    """y(p) = Σ_t W_t x(p + t) + b over the taps t:  E[y(p)²] = C_in/G Σ_t E[W_t²] E[x(p + t)²] + E[b²].

    The backward map is the transposed one, E[δx(p)²] = C_out/G Σ_t E[W_t²] E[δy(p − t)²].  Positions that padding
    adds are 0, so that borders lose size in both directions.  Products of two places shift together, E[y(p) y(p′)] =
    C_in/G Σ_t E[W_t²] E[x(p + t) x(p′ + t)] + E[b²]: of their means over all pairs the factor is that of the mean map.
    Transposed convolutions change the roles of the two.

    Xiao et al. (2018), arXiv:1806.05393, who wrap around the borders.
    """

    fan_in: int = field(kw_only=True)
    """C_in/G"""
    fan_out: int = field(kw_only=True)
    """C_out/G"""
    taps: Tensor = field(kw_only=True, repr=False, compare=False)
    """E[W_t²], of shape (1, 1, *kernel)."""
    bias: float = field(kw_only=True)
    """E[b²]"""
    level: float = field(default=0.0, kw_only=True)
    """E[b], as `level`."""
    transposed: bool = field(kw_only=True)
    options: tuple[tuple[str, Any], ...] = field(kw_only=True)
    effect = "weights"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        x, weight, bias = call.argument(0, "input"), call.argument(1, "weight"), call.argument(2, "bias")
        if not is_signal(x) or not isinstance(weight, Tensor) or is_signal(bias) or len(call.given) != 1:
            return None
        transposed = "transpose" in call.operation
        names = OPTIONS[transposed]
        options = {n: call.argument(3 + i, n) for i, n in enumerate(names)}
        groups = options.pop("groups", None) if transposed else call.argument(6, "groups")
        own, other = weight.shape[0] // int(groups or 1), weight.shape[1]
        fan_in, fan_out = (own, other) if transposed else (other, own)
        return cls(
            call.shape,
            fan_in=fan_in,
            fan_out=fan_out,
            taps=_mean_squares(weight),
            bias=mean_square(bias),
            level=level(bias),
            transposed=transposed,
            options=tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in options.items() if v is not None),
        )

    def spread_over(self, squares: Tensor) -> Tensor:
        """Σ_t E[W_t²] x(p + t) of a map (groups, *positions)."""
        dims = self.taps.ndim - 2
        mapped = FORWARD[self.transposed, dims](squares.unsqueeze(1), self.taps, **dict(self.options))
        return mapped.squeeze(1)

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        squares = full(x.square, self._spatial(x.layout))
        mapped = self.spread_over(squares) * self.fan_in
        before, after = float(squares.mean()), float(mapped.mean())
        pairs = self._paired(x.pairs.times(after / before if before else 0.0), self._spatial(x.layout), False)
        pairs = pairs.plus(ALIKE.times(self.bias))
        square = mapped + self.bias
        return replace(
            x,
            layout=self._layout(x.layout),
            square=square,
            mean=torch.full_like(square, self.level),
            pairs=Pairs(*pairs),
            normal=True,
            places=0,
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        sizes = self._spatial(x.layout)
        back = returned(self.spread_over, full(delta.square, output.layout.positions), sizes) * self.fan_out
        before, after = delta.size, float(back.mean())
        square = back if x.layout.positions == sizes else back.flatten(1).mean(1).reshape(-1, *x.square.shape[1:])
        pairs = self._paired(delta.pairs.times(after / before if before else 0.0), sizes, True)
        return (Delta(square, pairs, delta.spread),)

    def _paired(self, pairs: Pairs, sizes: tuple[int, ...], back: bool) -> Pairs:
        """Of two positions, what the taps that both have in common leave."""
        inside = _inside(tuple(self.taps.shape[2:]), sizes, self.options, self.transposed)
        outputs, inputs = math.prod(self.shape[2 - self.taps.ndim :]), math.prod(sizes)
        count = inputs if back else outputs
        if count < 2:
            return pairs
        taps, share = self.taps.flatten(), inside * (outputs / inputs if back else 1.0)
        own, both = float((taps * share).sum()), float((taps * share.square()).sum())
        left = (count * both - own) / ((count - 1) * own) if own else 1.0
        return Pairs(pairs.samples, pairs.positions * left, pairs.both * left)

    def _spatial(self, source: Layout) -> tuple[int, ...]:
        return source.shape[2 - self.taps.ndim :]

    def _layout(self, source: Layout) -> Layout:
        """Channels are units and the last axes positions, whatever they were before; (C, *positions) has one sample."""
        dims = self.taps.ndim - 2
        return Layout(self.shape, "S" * (len(self.shape) - dims - 1) + "F" + "P" * dims)


@lru_cache(maxsize=256)
def _inside(
    kernel: tuple[int, ...], sizes: tuple[int, ...], options: tuple[tuple[str, Any], ...], transposed: bool
) -> Tensor:
    """Per tap, the share of the outputs for which it lies inside the input."""
    count = math.prod(kernel)
    each = torch.eye(count, dtype=torch.float64).reshape(count, 1, *kernel)
    each = each.transpose(0, 1) if transposed else each
    ones = torch.ones(1, 1, *sizes, dtype=torch.float64)
    return FORWARD[transposed, len(kernel)](ones, each, **dict(options)).flatten(2).mean(2).flatten()


def _mean_squares(weight: Tensor) -> Tensor:
    squares = torch.linalg.vector_norm(weight.detach(), dim=(0, 1), dtype=torch.float64).square()
    return (squares / (weight.shape[0] * weight.shape[1]))[None, None]
