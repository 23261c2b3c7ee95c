"""What theory knows of a tensor: second moments over the units of a wide layer, per position and group of samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.activations import Pointwise
from undertow.theory.attending import Attends

GROUPS = 8
"""Samples are told apart by size in so many groups: a saturating activation treats small and large ones differently."""


class Layout(NamedTuple):
    """A tensor's shape, and per axis whether it counts samples (S), positions (P: tokens, pixels, steps) or units (F).

    A convolution's output is `SFPP`, a transformer's `SPF`, heads apart `SFPF`.
    """

    shape: tuple[int, ...]
    roles: str
    merged: tuple[int, ...] = ()
    """Sizes of the positions that the first axis, of samples, holds too: (B, T, F) viewed as (B·T, F) has (T,)."""

    def count(self, role: str) -> int:
        return math.prod(n for n, r in zip(self.shape, self.roles, strict=True) if r == role)

    @property
    def positions(self) -> tuple[int, ...]:
        return (*self.merged, *(n for n, r in zip(self.shape, self.roles, strict=True) if r == "P"))

    @property
    def apart(self) -> Layout:
        """The same values with the merged positions on axes of their own."""
        if not self.merged:
            return self
        samples = self.shape[0] // math.prod(self.merged)
        return Layout((samples, *self.merged, *self.shape[1:]), "S" + "P" * len(self.merged) + self.roles[1:])

    def of(self, shape: tuple[int, ...]) -> Layout:
        """Of a tensor of this shape whose axes mean the same."""
        return self._replace(shape=shape)


class Pairs(NamedTuple):
    """Mean products E[x y] of one unit at two places, over all pairs of them; of x alone, `Signal.square`."""

    samples: float = 0.0
    """Of two samples at the same position."""
    positions: float = 0.0
    """Of two positions in the same sample."""
    both: float = 0.0
    """Of two samples at two positions."""

    def times(self, factor: float) -> Pairs:
        return Pairs(*(factor * p for p in self))

    def plus(self, other: Pairs) -> Pairs:
        return Pairs(*(a + b for a, b in zip(self, other, strict=True)))

    def over(self, samples: int, positions: int) -> float:
        """The mean over all pairs of two different places; 0 where there is one place."""
        n = samples * positions
        if n < 2:
            return 0.0
        total = (samples - 1) * self.samples + (positions - 1) * self.positions
        return (total + (samples - 1) * (positions - 1) * self.both) / (n - 1)


NONE = Pairs()
"""Two places have nothing in common."""
ALIKE = Pairs(1.0, 1.0, 1.0)
"""The same number everywhere."""


class Drawn(NamedTuple):
    """Values f(u) of normally distributed u; of u itself where there is no f."""

    activation: Pointwise | None
    variance: float
    mean: float
    correlation: float
    """Of u at two positions."""


class Mixed(NamedTuple):
    """A sum of values of an activation and of normal ones, as on a shortcut past layers: it is skewed."""

    made: Drawn
    size: float
    """E[·²] of the values of the activation."""
    variance: float
    mean: float
    """Both of the normal values."""
    square: Tensor
    """That of the sum itself: another tensor than `Signal.square` once anything was done to it."""


@dataclass(frozen=True)
class Signal:
    """Moments of a tensor x in the forward pass, over units, float64, each of shape (groups, *positions).

    An axis of the moments may have length 1 where all its places are alike.
    """

    layout: Layout
    square: Tensor
    """E[x²]"""
    mean: Tensor
    """E[x]; 0 for a layer's sums, whose weights have no preferred sign."""
    pairs: Pairs = NONE
    normal: bool = True
    """Whether x is normally distributed over the units: a sum of many products, not the output of an activation."""
    spread: float = 0.0
    """Variance of ln E[x²] over random initialisations of layers of finite width."""
    places: int = 0
    """Behind BatchNorm, over how many places it normalised a unit: few of them have lighter tails than a normal."""
    drawn: Drawn | None = None
    """Where not `normal`, what its values are made of, up to a factor."""
    mixed: Mixed | None = None
    """Where it is a sum of two that has just been taken."""
    attends: Attends | None = None
    """Of scores and weights of attention, (…, queries, keys), whose pairs of positions are two keys of one query."""

    @cached_property
    def size(self) -> float:
        """The mean of E[x²] over all groups and positions."""
        return float(self.square.mean())

    @cached_property
    def middle(self) -> float:
        """Likewise of E[x]."""
        return float(self.mean.mean())

    @property
    def rms(self) -> float:
        return math.sqrt(self.size) if self.size >= 0 else math.nan

    def scaled(self, factor: float | Tensor) -> Signal:
        """Of the tensor times √factor."""
        size = float(factor) if isinstance(factor, float | int) else float(factor.mean())
        root = factor**0.5
        return replace(self, square=self.square * factor, mean=self.mean * root, pairs=self.pairs.times(size))


class Lean(NamedTuple):
    """How a backward value goes with the signal x of its own tensor, x² having mean 1."""

    square: float
    """E[δ² x²]"""
    pairs: Pairs
    """E[δ x δ′ x′] of two places."""


class Passed(NamedTuple):
    """The activation that a backward value has just come through, and what it was before."""

    activation: Pointwise
    before: Delta


@dataclass(frozen=True)
class Delta:
    """Moments of the backward value δ = ∂L/∂x of a tensor x, shaped as the tensor's `Signal`."""

    square: Tensor
    """E[δ²]"""
    pairs: Pairs = NONE
    spread: float = 0.0
    """Variance of ln E[δ²] over random initialisations of layers of finite width."""
    shift: float = 0.0
    """ln of the median of E[δ²] over those initialisations, less that of its mean-field value."""
    lean: Callable[[], Lean] | None = None
    """Behind an activation; None where δ does not know of x."""
    passed: Passed | None = None
    """None where δ has come through anything else since."""
    tilt: float = 1.0
    """E[δ² f′²] / (E[δ²] E[f′²]) at the activation f that made x: more than 1 behind a maximum, which hands δ to the
    units with a slope, and on a shortcut past layers, where the next ReLU is open for what the last one let through."""
    attends: Attends | None = None
    """As of the signal."""

    @cached_property
    def size(self) -> float:
        """The mean of E[δ²] over all groups and positions."""
        return float(self.square.mean())

    @property
    def rms(self) -> float:
        return math.sqrt(self.size) if self.size >= 0 else math.nan

    def scaled(self, factor: float | Tensor, spread: float = 0.0) -> Delta:
        """Of δ times √factor, with what a layer of finite width adds to the spread."""
        size = float(factor) if isinstance(factor, float | int) else float(factor.mean())
        pairs = self.pairs.times(size)
        return Delta(self.square * factor, pairs, self.spread + spread, attends=self.attends)


def measured(x: Tensor, roles: str) -> Signal:
    """The moments of a real tensor: the model's input, or an embedding of real tokens."""
    layout = Layout(tuple(x.shape), roles)
    order = sorted(range(x.ndim), key=lambda axis: "SPF".index(roles[axis]))
    values = (x.abs() if x.is_complex() else x).detach().double().permute(order)
    samples, units = layout.count("S"), layout.count("F")
    values = values.reshape(samples, *layout.positions, units)
    sizes = values.square().mean(-1)
    by_size = sizes.reshape(samples, -1).mean(1).argsort()
    groups = by_size.tensor_split(min(GROUPS, samples))
    square = torch.stack([sizes[g].mean(0) for g in groups])
    mean = torch.stack([values[g].mean(-1).mean(0) for g in groups])
    return Signal(layout, square, mean, _pairs(values.reshape(samples, -1, units)))


def _pairs(values: Tensor) -> Pairs:
    """Of (samples, positions, units)."""
    samples, positions, units = values.shape
    itself = float(values.square().sum()) / units
    same_position = float(values.sum(0).square().sum()) / units
    same_sample = float(values.sum(1).square().sum()) / units
    everything = float(values.sum((0, 1)).square().sum()) / units
    n, p = samples, positions

    def over(total: float, pairs: int) -> float:
        return total / pairs if pairs else 0.0

    return Pairs(
        over(same_position - itself, n * (n - 1) * p),
        over(same_sample - itself, n * p * (p - 1)),
        over(everything - same_position - same_sample + itself, n * (n - 1) * p * (p - 1)),
    )
