"""Normalisations over units: LayerNorm, RMSNorm, GroupNorm, InstanceNorm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from undertow.theory.laws.base import Call, Law, is_signal, law, like, mean_square
from undertow.theory.laws.tails import tails
from undertow.theory.signal import ALIKE, Delta, Pairs, Signal


@dataclass(frozen=True)
class Affine:
    """The learnt scale and shift after a normalisation: E[γ²] and E[β²]."""

    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, weight: object, bias: object) -> Affine | None:
        """None where they depend on the input."""
        if is_signal(weight) or is_signal(bias):
            return None
        return cls(1.0 if weight is None else mean_square(weight), mean_square(bias))  # pyright: ignore

    def after(self, x: Signal) -> Signal:
        pairs = x.pairs.times(self.scale).plus(ALIKE.times(self.shift))
        return replace(x, square=x.square * self.scale + self.shift, pairs=Pairs(*pairs))


@law("layer_norm", "rms_norm")
@dataclass(frozen=True)
class UnitNorm(Law):
    """y = γ (x − m)/s + β over each place's units, s² = E[x²] − m² (+ ε); m = 0 for RMSNorm.

    δx = (γ/s)(δ − mean δ − x̂ mean(δ x̂)):  E[δx²] = E[γ²] E[1/s²] (1 − 2/n) E[δ²], for two directions of n units are
    lost (one by RMSNorm); E[1/s²] is larger than 1/E[s²] by the scatter of s².  Behind a layer's weights the scatter
    is larger than the loss; on a residual stream there is none, and the next norm loses no new directions.  Behind an
    activation the scatter of s² is what `drift` follows; m takes E[s²]/n of it away, and what is lost goes with the
    slopes, as `Tails.steep` says.
    Ba, Kiros, Hinton (2016), arXiv:1607.06450; Zhang, Sennrich (2019), arXiv:1910.07467.
    """

    units: int = field(kw_only=True)
    affine: Affine = field(kw_only=True)
    centred: bool = field(kw_only=True)
    eps: float = field(kw_only=True)
    effect = "normalisation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        x = call.argument(0, "input")
        normalised = call.argument(1, "normalized_shape")
        centred = call.operation == "layer_norm"
        bias = call.argument(3, "bias") if centred else None
        eps = call.argument(4 if centred else 3, "eps", 1e-5 if centred else None)
        affine = Affine.of(call.argument(2, "weight"), bias)
        if not is_signal(x) or affine is None:
            return None
        eps = 1.2e-7 if eps is None else float(eps)
        return cls(call.shape, units=math.prod(normalised), affine=affine, centred=centred, eps=eps)

    @property
    def spelled(self) -> str:
        return "layer_norm" if self.centred else "rms_norm"

    def _variance(self, x: Signal) -> tuple[Tensor, Tensor]:
        """s², and what it is taken of: over positions too where the units' axes hold them."""
        over_positions = self.units > x.layout.count("F") and bool(x.layout.positions)
        dims = tuple(range(1, x.square.ndim))
        square = x.square.mean(dims, keepdim=True) if over_positions else x.square
        mean = x.mean.mean(dims, keepdim=True) if over_positions else x.mean
        return square - (mean.square() if self.centred else 0) + self.eps, mean if self.centred else mean * 0

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        variance, mean = self._variance(x)
        common = float(mean.square().mean())
        pairs = Pairs(*((p - common) / float(variance.mean()) for p in x.pairs))
        square = (x.square - 2 * mean * x.mean + mean.square()) / variance
        out = replace(x, layout=like(x, self.shape), square=square, mean=(x.mean - mean) / variance.sqrt(), pairs=pairs)
        return self.affine.after(replace(out, spread=0.0))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        variance, _ = self._variance(x)
        lost = (2 if self.centred else 1) / self.units
        if x.normal:
            scatter, left = x.spread, 1 + max(x.spread - lost, 0)
        else:
            scatter, left = 0.0, 1 - min(lost, x.spread) + (self.centred - self._steeper(x)) / self.units
        return (delta.scaled(self.affine.scale * max(left, 0.0) / variance, spread=scatter),)

    def _steeper(self, x: Signal) -> float:
        """`Tails.steep` of the direction that is lost, and of 1/s² where places differ: the median over initialisations
        of a product of two sizes is that of each, its mean over places is not."""
        square, mean = x.size, x.middle if self.centred else 0.0
        places = x.layout.count("S"), math.prod(x.layout.positions)
        common = (x.pairs.over(*places) - mean**2) / (square - mean**2) if square > mean**2 else 1.0
        own = (1 - min(max(common, 0.0), 1.0) ** 2) * (1 - 1 / math.prod(places))
        return tails(x, self.centred).steep * (1 + own)


@law("group_norm", "instance_norm")
@dataclass(frozen=True)
class GroupNorm(Law):
    """As LayerNorm, over the positions and C/G channels of each sample: Wu, He (2018), arXiv:1803.08494.

    The mean over c channels keeps what positions of one channel have in common, E[m²] = m² + (E[x x′] − m²)/c.
    InstanceNorm is c = 1: Ulyanov, Vedaldi, Lempitsky (2016), arXiv:1607.08022.
    """

    groups: int = field(kw_only=True)
    affine: Affine = field(kw_only=True)
    eps: float = field(kw_only=True)
    effect = "normalisation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        x = call.argument(0, "input")
        if not is_signal(x):
            return None
        if call.operation == "group_norm":
            groups, first, eps = int(call.argument(1, "num_groups")), 2, call.argument(4, "eps", 1e-5)
            affine = Affine.of(call.argument(first, "weight"), call.argument(first + 1, "bias"))
        else:
            groups, eps = call.given[x.index][1], call.argument(7, "eps", 1e-5)
            affine = Affine.of(call.argument(3, "weight"), call.argument(4, "bias"))
        return None if affine is None else cls(call.shape, groups=groups, affine=affine, eps=float(eps))

    def _moments(self, x: Signal) -> tuple[float, float, float]:
        """E[m²] of the statistic, s², and how many values it is of."""
        channels = x.layout.count("F") / self.groups
        places = math.prod(x.layout.positions)
        square, mean = x.size, x.middle
        within = square / places + (1 - 1 / places) * x.pairs.positions
        common = mean**2 + (within - mean**2) / channels
        return common, square - common + self.eps, channels * places

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        common, variance, _ = self._moments(x)
        mean = x.middle
        pairs = Pairs((x.pairs.samples - mean**2), x.pairs.positions - common, x.pairs.both - mean**2)
        square = (x.square - common).clamp(min=0) / variance
        out = replace(x, square=square, mean=(x.mean - mean) / variance**0.5, pairs=pairs.times(1 / variance))
        return self.affine.after(replace(out, spread=0.0))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        _, variance, values = self._moments(inputs[0])
        factor = self.affine.scale * max(1 - 2 / values, 0.0) / variance
        return (delta.scaled(factor, spread=inputs[0].spread),)
