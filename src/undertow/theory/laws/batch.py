"""BatchNorm, with the corrections of a finite batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.laws.normalisation import Affine
from undertow.theory.laws.tails import tails
from undertow.theory.signal import Delta, Pairs, Signal

WIDE = 1 / 8
"""Above this many samples a unit, the units' common directions among the samples are felt: measured."""


FEWEST = 4.0
"""Different values that a unit has at least: of fewer, E[1/s²] is not finite."""


@law("batch_norm")
@dataclass(frozen=True)
class BatchNorm(Law):
    """y = γ (x − m)/s + β over the n = samples × positions of each channel.

    Forward: s² = (1 − 1/n)(E[x²] − c), c the mean product of two places.  Backward: δx = (γ/s) (δ − mean δ −
    x̂ mean(δ x̂)), the scatter of s over units adds 1 + (κ − 1)/(n − 3) for x of kurtosis κ, n − 1 the `rank` of the
    places:  with ReLU, E[δx²]/E[δ²] = π/(π − 1) a layer as n → ∞, 1.2112² (Yang, Pennington, Rao, Sohl-Dickstein,
    Schoenholz (2019), arXiv:1902.08129).
    """

    affine: Affine = field(kw_only=True)
    eps: float = field(kw_only=True)
    running: tuple[float, float] | None = field(default=None, kw_only=True)
    """In evaluation mode, E[mean²] and E[1/(variance + ε)] of the running statistics."""
    effect = "normalisation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        affine = Affine.of(call.argument(3, "weight"), call.argument(4, "bias"))
        if affine is None or not is_signal(call.argument(0, "input")):
            return None
        eps = float(call.argument(7, "eps", 1e-5))
        mean, variance = call.argument(1, "running_mean"), call.argument(2, "running_var")
        if call.argument(5, "training", False) or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
            return cls(call.shape, affine=affine, eps=eps)
        running = (float(mean.double().square().mean()), float((1 / (variance.double() + eps)).mean()))
        return cls(call.shape, affine=affine, eps=eps, running=running)

    def _places(self, x: Signal) -> tuple[int, int]:
        return x.layout.count("S"), math.prod(x.layout.positions)

    def _common(self, x: Signal) -> float:
        """The mean product of two different places."""
        return x.pairs.over(*self._places(x))

    def _variance(self, x: Signal) -> float:
        """Of a channel over its places."""
        n = math.prod(self._places(x))
        return (1 - 1 / n) * (x.size - self._common(x)) + self.eps if n > 1 else self.eps

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        if self.running is not None:
            shift, scale = self.running
            moved = replace(x, square=x.square + shift, pairs=Pairs(*(p + shift for p in x.pairs)))
            return self.affine.after(moved.scaled(scale))
        n = math.prod(self._places(x))
        variance = self._variance(x)
        common = x.size / n + (1 - 1 / n) * self._common(x)
        # what a place has in common with the others goes with its own size
        centred = (x.square - common * (2 * (x.square / x.square.mean()).sqrt() - 1)).clamp(min=0)
        square = centred * (1 - self.eps / variance) / centred.mean()
        pairs = Pairs(*((p - common) / variance for p in x.pairs))
        return self.affine.after(
            replace(x, square=square, mean=x.mean * 0, pairs=pairs, normal=True, places=n, spread=0.0)
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        if self.running is not None:
            return (delta.scaled(self.affine.scale * self.running[1], spread=x.spread),)
        samples, positions = self._places(x)
        n = samples * positions
        if n <= 3:
            return (delta.scaled(0.0),)
        size = delta.size
        along = delta.pairs.over(samples, positions)
        lean = delta.lean() if delta.lean else None
        tilted = lean.square if lean else size
        tilted_pairs = lean.pairs.over(samples, positions) if lean else 0.0
        lost_mean = size / n + (1 - 1 / n) * along
        lost_tilt = tilted / n + (1 - 1 / n) * tilted_pairs
        left = max(1 - (lost_mean + lost_tilt) / size, 0.0) if size else 0.0
        made = tails(x)
        different = max(rank(x, samples, positions), FEWEST)
        factor = self.affine.scale / self._variance(x) * (1 + (made.kurtosis - 1) / (different - 2))
        pairs = Pairs(*((p - lost_mean) * factor for p in delta.pairs))
        return (replace(delta.scaled(factor * left, spread=x.spread), pairs=pairs, tilt=1 - 2 * made.steep / n),)

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        (x,) = inputs
        samples, positions = self._places(x)
        return ("batch_to_width",) if samples * positions > WIDE * x.layout.count("F") * positions else ()


def rank(x: Signal, samples: int, positions: int) -> float:
    """(Σ λ)²/Σ λ² of the eigenvalues λ of the places' covariance: so many different values has a unit.

    n − 1 where all places have equally much in common, fewer where those of one sample have more.
    """
    square, (one, other, both) = x.size, x.pairs
    if samples == 1 or positions == 1:
        return samples * positions - 1.0
    own = square - one - other + both
    of_sample, of_position = own + positions * (other - both), own + samples * (one - both)
    times = ((samples - 1) * (positions - 1), samples - 1, positions - 1)
    values = [max(value, 0.0) for value in (own, of_sample, of_position)]
    squares = sum(m * value**2 for m, value in zip(times, values, strict=True))
    return sum(m * value for m, value in zip(times, values, strict=True)) ** 2 / squares if squares else 1.0
