"""Activation functions, unit by unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from undertow.activations import Pointwise, recognise_call
from undertow.theory.few import few
from undertow.theory.interpolate import moments_at
from undertow.theory.joint import FEWER, Joint, joint
from undertow.theory.laws.base import Call, Law, is_signal
from undertow.theory.laws.gated import Skewed, skewed
from undertow.theory.moments import Moments
from undertow.theory.signal import GROUPS, NONE, Delta, Drawn, Lean, Pairs, Passed, Signal

SMALLEST = 1e-300
"""A variance of 0 is a tensor of one value; quadrature needs a positive one."""


MANY = 1024
"""BatchNorm over so many places makes them normal to a thousandth."""
CENTRED = 1e-6
"""Share of E[x]² in E[x²] up to which x counts as centred."""
POINTS = 48
"""Nodes of each of two correlated numbers that are not centred."""
MEANS = 33
"""Different means, of a signal that is not centred, are rounded to so many."""


@dataclass(frozen=True)
class Activate(Law):
    """y = f(x) for x ~ N(m, v):  E[y²] = E[f(x)²],  E[δx²] = E[f′(x)²] E[δy²]."""

    activation: Pointwise = field(kw_only=True)
    effect = "activation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if not call.args or not is_signal(call.args[0]):
            return None
        x = torch.empty(call.given[call.args[0].index], device="meta")
        found = recognise_call(call.function.__name__, (x, *call.args[1:]), call.kwargs)
        return cls(call.shape, activation=found) if isinstance(found, Pointwise) else None

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        m = self.moments(x)
        square, mean = _shaped(m.E_f2, x.square), _shaped(m.E_f, x.square)
        spread = x.spread  # how far a change of E[x²] reaches E[y²] is chi-parallel's part; 1 for ReLU
        drawn = self._drawn(x) if x.normal else None
        return replace(
            x, square=square, mean=mean, pairs=self._skewed_pairs(x), normal=False, places=0, drawn=drawn, spread=spread
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (x,) = inputs
        m = self.moments(x)
        slope = _shaped(m.E_df2, x.square) * delta.tilt
        fourth, second = float(_shaped(m.E_df4, x.square).mean()), float(slope.mean())
        uneven = fourth / second / second if second > 0 else 1.0  # second² may leave the floats
        units = x.layout.count("F") * math.prod(x.layout.positions)
        passed = delta.scaled(slope, spread=3 * (uneven - 1) / units)
        passed = replace(passed, lean=partial(self._lean, delta, x), passed=Passed(self.activation, delta))
        if delta.pairs == NONE:
            return (passed,)
        products = (self._slopes(x, c) for c in _existing(x))
        return (replace(passed, pairs=Pairs(*(p * s for p, s in zip(delta.pairs, products, strict=False)))),)

    def _lean(self, delta: Delta, x: Signal) -> Lean:
        """To first order in the correlation of two places, for x that is as likely positive as negative."""
        q = x.size
        found = few(self.activation, q, x.places)
        return Lean(delta.size * found.square / q, delta.pairs.times(found.product**2 / q))

    def flags(self, *inputs: Signal) -> tuple[str, ...]:
        return () if inputs[0].normal else ("not_normal",)

    # ------------------------------------------------------------ moments

    def moments(self, x: Signal) -> Moments:
        found, skew = self._of_normal(x), skewed(self.activation, x)
        if skew == Skewed():
            return found
        return replace(found, E_f=found.E_f * skew.mean, E_f2=found.E_f2 * skew.square, E_df2=found.E_df2 * skew.slope)

    def _of_normal(self, x: Signal) -> Moments:
        if 4 < x.places < MANY:  # behind BatchNorm, and without a shift
            found = [few(self.activation, float(q), x.places).moments for q in x.square.flatten()]
            return Moments(*(torch.tensor([getattr(m, f.name) for m in found]) for f in fields(Moments)))  # pyright: ignore
        variance = (x.square - x.mean.square()).clamp(min=SMALLEST).flatten()
        means = x.mean.expand_as(x.square).flatten()
        if len(variance) <= GROUPS and not self.activation.tensors:  # asked for again on the way back
            return _few_moments(self.activation, tuple(variance.tolist()), tuple(means.tolist()))
        return self._moments_of(variance, means)

    def _moments_of(self, variance: Tensor, means: Tensor) -> Moments:
        found = torch.full((len(fields(Moments)), len(variance)), math.nan, dtype=torch.float64)
        finite = (variance.isfinite() & means.isfinite()).nonzero().flatten()
        for some in (finite[one] for one in _alike(means[finite])):
            of = moments_at(self.activation, variance[some].numpy(), float(means[some].mean()))
            found[:, some] = torch.stack([torch.as_tensor(getattr(of, f.name)) for f in fields(of)])
        outside = finite[found[1, finite].isnan()]  # a logarithm or a root, of what is positive
        if len(outside):
            found[:, outside] = straight(self.activation, variance[outside], means[outside])
        return Moments(*found)  # pyright: ignore[reportArgumentType]: arrays, as of moments_at

    def _drawn(self, x: Signal) -> Drawn:
        q, mean = x.size, x.middle
        return Drawn(self.activation, max(q - mean**2, 0.0), mean, _correlation(x.pairs.positions, q, mean))

    def _pairs(self, x: Signal) -> Pairs:
        """E[f(u) f(v)] of two places, at the mean size of all places."""
        q, mean = x.size, x.middle
        if not 0 < q < math.inf:
            return Pairs()
        found = (self._joint(q, mean, p).E_ff for p in _existing(x))
        return Pairs(*found)

    def _skewed_pairs(self, x: Signal) -> Pairs:
        """Two places have as large a share of their variance in common as those of normal values."""
        found, skew = self._pairs(x), skewed(self.activation, x)
        if skew == Skewed():
            return found
        of = self._of_normal(x)
        square, middle = float(_shaped(of.E_f2, x.square).mean()), float(_shaped(of.E_f, x.square).mean()) ** 2
        to_square, to_middle = square * skew.square, middle * skew.mean**2
        return Pairs(*(to_middle + (p - middle) / (square - middle) * (to_square - to_middle) for p in found))

    def _slopes(self, x: Signal, product: float) -> float:
        q = x.size
        return self._joint(q, x.middle, product).E_dfdf if 0 < q < math.inf else 0.0

    def _joint(self, square: float, mean: float, product: float) -> Joint:
        variance, c = square - mean**2, _correlation(product, square, mean)
        if mean**2 <= CENTRED * square:
            return joint(self.activation, square, c, nodes=FEWER)
        found = beside(self.activation, variance, mean, c)
        if not math.isnan(found.E_ff):
            return found
        moments = straight(self.activation, torch.tensor([variance]), torch.tensor([mean]))
        f, scattered, slope = float(moments[0]), float(moments[1]), float(moments[3])
        return Joint(f**2 + c * (scattered - f**2), slope)


def _existing(x: Signal) -> Iterable[float]:
    """The kinds of pairs that there are: without positions, those of two samples."""
    return x.pairs if x.layout.positions else x.pairs[:1]


@dataclass(frozen=True)
class Spelt(Activate):
    """A function of one tensor that is not in the catalogue, at the last of the calls that spell it out."""

    effect = "other"


def _alike(means: Tensor) -> Iterator[Tensor]:
    """Indices of places with about the same mean."""
    if not len(means):
        return
    low, high = float(means.min()), float(means.max())
    if low == high:
        yield torch.arange(len(means))
        return
    level = ((means - low) / (high - low) * (MEANS - 1)).round()
    for one in level.unique():
        yield (level == one).nonzero().flatten()


@lru_cache(maxsize=4096)
def _few_moments(activation: Pointwise, variance: tuple[float, ...], means: tuple[float, ...]) -> Moments:
    law = Activate((), activation=activation)
    return law._moments_of(torch.tensor(variance, dtype=torch.float64), torch.tensor(means, dtype=torch.float64))


def straight(activation: Pointwise, variance: Tensor, means: Tensor) -> Tensor:
    """The moments, a row each, to first order around the mean: f(m) + f′(m)(u − m).

    For a function that is not defined for all normal numbers, log(Σ exp x) or √(mean x²), but is for those it gets.
    NaN or inf where it is not defined at the mean.
    """
    u = means.double().unsqueeze(1).expand(-1, activation.channels)
    with torch.no_grad():
        f, slope = (value.double().mean(1) for value in (activation(u), activation.derivative(u)))
    scatter = slope.square() * variance
    fourth = f**4 + 6 * f.square() * scatter + 3 * scatter.square()
    return torch.stack([f, f.square() + scatter, slope, slope.square(), slope**4, fourth, slope.square()])


def beside(activation: Pointwise, variance: float, mean: float, c: float) -> Joint:
    """As `joint` for a mean that is not 0, by Gauss-Hermite quadrature: to a thousandth where f has kinks."""
    z, w = np.polynomial.hermite_e.hermegauss(POINTS)
    w = np.outer(w, w) / w.sum() ** 2
    one = mean + math.sqrt(max(variance, 0.0)) * (z[:, None] + 0 * z)
    other = mean + math.sqrt(max(variance, 0.0)) * (c * z[:, None] + math.sqrt(1 - c * c) * z)
    u = torch.from_numpy(np.stack([one, other])).reshape(-1, 1).expand(-1, activation.channels)
    with torch.no_grad():
        f, slope = (v.mean(1).reshape(2, POINTS, POINTS).numpy() for v in (activation(u), activation.derivative(u)))
    return Joint(float((w * f[0] * f[1]).sum()), float((w * slope[0] * slope[1]).sum()))


def _correlation(product: float, square: float, mean: float) -> float:
    return max(-1.0, min(1.0, (product - mean**2) / (square - mean**2))) if square > mean**2 else 0.0


def _shaped(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).reshape(like.shape)
