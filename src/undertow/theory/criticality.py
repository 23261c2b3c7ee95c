"""Where the variance and the correlations of a deep wide network settle, and how deep a signal and a gradient reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from undertow.activations import Pointwise
from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.theory.critical import STABLE, at_zero, grid
from undertow.theory.function import Function, pointwise
from undertow.theory.interpolate import moments_at
from undertow.theory.joint import joint
from undertow.theory.moments import Moments, moments
from undertow.theory.roots import crossings

PER_SCALE = 6
"""Depth scales that a signal may cross and a network still train: Schoenholz et al. (2017), §5, found 6 ξ_c for tanh on
MNIST and CIFAR-10; ξ_grad is ξ_c in the ordered phase and shorter in the chaotic one."""
Phase = Literal["ordered", "critical", "chaotic"]


class FixedPoint(NamedTuple):
    """A variance that a layer hands on as it is: q = σ_w² E[f²] + σ_b²."""

    q: float
    chi_parallel: float
    """σ_w² dE[f²]/dq, the slope of the variance map: a difference from q changes by this factor a layer."""
    chi_perp: float
    """σ_w² E[f′²]: the factor of the squared backward value a layer, and the slope of the correlation map at 1."""

    @property
    def attracts(self) -> bool:
        return abs(self.chi_parallel) < 1 - STABLE

    @property
    def repels(self) -> bool:
        return abs(self.chi_parallel) > 1 + STABLE


@dataclass(frozen=True)
class Criticality:
    """What an infinitely wide network of layers W f(z) + b does with depth; W ~ N(0, σ_w²/fan_in), b ~ N(0, σ_b²)."""

    activation: Pointwise
    sigma_w2: float
    sigma_b2: float
    start: float
    fixed_points: tuple[FixedPoint, ...]
    """All of them, by q; for a function that keeps every variance the one at `start`."""
    q: float
    """Where the variance settles that begins at `start`; 0 where it dies, inf where it grows without end."""
    chi_parallel: float
    chi_perp: float
    """Both at q."""
    c: float
    """The correlation of two inputs that it settles at; NaN where q is 0 or inf without a limit."""
    chi_c: float
    """σ_w² E[f′(u) f′(v)] at correlation c: the slope of the correlation map there."""

    @property
    def phase(self) -> Phase:
        """ordered: gradients vanish and inputs become alike; chaotic: gradients explode and like inputs part."""
        if abs(self.chi_perp - 1) <= STABLE:
            return "critical"
        return "ordered" if self.chi_perp < 1 else "chaotic"

    @property
    def per_layer(self) -> float:
        """√χ⊥: the factor of the backward value's rms a layer, far from the input."""
        return math.sqrt(self.chi_perp)

    @property
    def xi_q(self) -> float:
        """−1/ln|χ∥|: the layers over which a difference from q falls to 1/e; inf at 1, negative where it grows."""
        return _depth(abs(self.chi_parallel))

    @property
    def xi_grad(self) -> float:
        """1/|ln χ⊥|: the layers over which the squared backward value changes e-fold."""
        return abs(_depth(self.chi_perp))

    @property
    def xi_c(self) -> float:
        """−1/ln χ_c: the layers over which what tells two inputs apart falls to 1/e."""
        return _depth(self.chi_c)

    @property
    def trainable_depth(self) -> float:
        """6 ξ_grad: the depth within which the squared backward value changes by less than e^±6."""
        return PER_SCALE * self.xi_grad

    @property
    def holds(self) -> bool:
        """Whether the variance stays near where it settles: χ∥ ≤ 1."""
        return 0 < self.q < math.inf and abs(self.chi_parallel) <= 1 + STABLE

    @property
    def verdict(self) -> str:
        """What that means, the stability of the variance first, in the current language."""
        said = [self._of_variance()]
        if 0 < self.q < math.inf:
            said.append(say(f"theory.criticality.{self.phase}", factor=written(self.per_layer, 4)))
        return " ".join(said)

    def _of_variance(self) -> str:
        if self.q in (0.0, math.inf):
            return say(f"theory.criticality.{'dies' if self.q == 0 else 'grows'}", chi=written(self.chi_parallel, 4))
        kind = "repels" if not self.holds else "attracts" if abs(self.chi_parallel) < 1 - STABLE else "marginal"
        return say(f"theory.criticality.{kind}", q=written(self.q, 4), chi=written(self.chi_parallel, 4))


def variance_map(act: Function, q: float, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """q → σ_w² E[f(u)²] + σ_b², u ~ N(0, q): the next layer's variance."""
    return sigma_w2 * moments(act, q).E_f2 + sigma_b2


def correlation_map(act: Function, c: float, q: float, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """c → (σ_w² E[f(u) f(v)] + σ_b²) / (σ_w² E[f²] + σ_b²), u and v ~ N(0, q) of correlation c."""
    covariance = sigma_w2 * joint(act, q, c).E_ff + sigma_b2
    return covariance / variance_map(act, q, sigma_w2, sigma_b2)


def criticality(act: Function, sigma_w2: float, sigma_b2: float = 0.0, start: float = 1.0) -> Criticality:
    """Follow variance and correlation to where they settle, from pre-activations of variance `start`.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`; InputError for σ_w² ≤ 0, σ_b² < 0, and a start that is not positive and finite.

    References
    ----------
    Poole et al. (2016), arXiv:1606.05340; Schoenholz, Gilmer, Ganguli, Sohl-Dickstein (2017), arXiv:1611.01232.
    """
    if not (0 < sigma_w2 < math.inf and 0 <= sigma_b2 < math.inf and 0 < start < math.inf):
        got = f"sigma_w2={sigma_w2!r}, sigma_b2={sigma_b2!r} and start={start!r}"
        raise InputError(
            got, "finite numbers, σ_w² and start above 0, σ_b² at least 0", "criticality('tanh', 1.76, 0.05)"
        )
    single = pointwise(act)
    points = fixed_points(single, sigma_w2, sigma_b2, start)
    q = _settled(single, sigma_w2, sigma_b2, start, points)
    here = next((p for p in points if p.q == q), None) or _limit(single, sigma_w2, q)
    c, slope = _correlation(single, sigma_w2, sigma_b2, here)
    return Criticality(single, sigma_w2, sigma_b2, start, points, q, here.chi_parallel, here.chi_perp, c, slope)


def fixed_points(act: Pointwise, sigma_w2: float, sigma_b2: float = 0.0, start: float = 1.0) -> tuple[FixedPoint, ...]:
    """Every variance between 10⁻⁸ and 10⁴ that is kept, and 0 where it is; those that the map only touches as well."""
    q = grid()
    if 0 < sigma_b2 < 2 * q[0]:  # below which no variance falls
        q = np.concatenate([np.geomspace(sigma_b2 / 2, q[0], 200, endpoint=False), q])
    m = moments_at(act, q)
    away = sigma_w2 * np.asarray(m.E_f2) / q + sigma_b2 / q - 1
    if (np.abs(away) < 1e-9).all():
        return (_fixed(act, sigma_w2, start),)
    away[np.abs(away) < 1e-12] = 0.0

    def off(v: float) -> float:
        return variance_map(act, v, sigma_w2, sigma_b2) / v - 1

    def tilt(v: float) -> float:
        of = moments(act, v)
        return sigma_w2 * (v * of.dE_f2_dq - of.E_f2) - sigma_b2

    with np.errstate(invalid="ignore"):  # beyond float64
        turning = sigma_w2 * (q * np.asarray(m.dE_f2_dq) - np.asarray(m.E_f2)) - sigma_b2
    turning[np.abs(turning) < 1e-9 * q] = 0.0
    touched = [v for v in crossings(tilt, q, turning) if abs(off(v)) < 1e-9]
    crossed = [v for v in crossings(off, q, away) if not any(abs(v / t - 1) < 1e-3 for t in touched)]
    dead = [0.0] if sigma_b2 == 0 and at_zero(act)[0] == 0 else []
    return tuple(
        _fixed(act, sigma_w2, v) if v else _limit(act, sigma_w2, v) for v in sorted([*dead, *touched, *crossed])
    )


def _fixed(act: Pointwise, sigma_w2: float, q: float) -> FixedPoint:
    m = moments(act, q)
    return FixedPoint(q, sigma_w2 * m.dE_f2_dq, sigma_w2 * m.E_df2)


def _limit(act: Pointwise, sigma_w2: float, q: float) -> FixedPoint:
    """At 0, where f(0) = 0, and towards ∞: both slopes tend to the same, the mean of f′² on either side."""
    if q == 0:
        square = at_zero(act)[1]
        return FixedPoint(0.0, sigma_w2 * square, sigma_w2 * square)
    far: Moments = moments(act, grid()[-1].item())
    return FixedPoint(q, sigma_w2 * far.dE_f2_dq, sigma_w2 * far.E_df2)


def _settled(act: Pointwise, sigma_w2: float, sigma_b2: float, start: float, points: tuple[FixedPoint, ...]) -> float:
    """The fixed point that the variance goes to; inf or 0 where it passes all of them."""
    kept = [p.q for p in points]
    after = variance_map(act, start, sigma_w2, sigma_b2)
    near = [v for v in kept if abs(v - start) <= 1e-10 * start]
    if near:
        return near[0]
    if (np.asarray(moments_at(act, grid()).dE_f2_dq) >= 0).all():  # a rising map steps over none of them
        if after > start:
            return min((v for v in kept if v > start), default=math.inf)
        return max((v for v in kept if v < start), default=0.0)
    q = start
    low, high = grid()[[0, -1]]
    for _ in range(1000):
        inside = low <= q <= high  # outside of it few steps are left, and an interpolation for each would take long
        size = float(moments_at(act, np.array([q])).E_f2[0]) if inside else moments(act, q).E_f2  # pyright: ignore
        q, before = sigma_w2 * size + sigma_b2, q
        if not low <= q <= high and (q < before) == (q < low) and not any(low > v > 0 for v in kept):
            return 0.0 if q < low else math.inf  # no fixed point lies further out
        if abs(q / before - 1) < 1e-9:
            break
    return min(kept, key=lambda v: abs(v - q), default=q)


def _correlation(act: Pointwise, sigma_w2: float, sigma_b2: float, at: FixedPoint) -> tuple[float, float]:
    """The stable correlation and the slope of its map there.

    The map has only positive Taylor coefficients, so that it is convex for c ≥ 0 and starts at or above 0: with a
    slope above 1 at c = 1 it crosses the diagonal once before, and Newton's steps from 0 come from one side.
    """
    if at.chi_perp <= 1 + STABLE or not 0 < at.q < math.inf:
        return (1.0 if at.chi_perp <= 1 + STABLE else math.nan), at.chi_perp
    c = 0.0
    for _ in range(60):
        j = joint(act, at.q, c)
        off, slope = (sigma_w2 * j.E_ff + sigma_b2) / at.q - c, sigma_w2 * j.E_dfdf
        step = off / (1 - slope)
        c = min(max(c + step, 0.0), 1.0)
        if abs(step) < 1e-13:
            break
    c = 0.0 if c < 1e-12 else c  # of an odd function without biases: rounding
    return c, sigma_w2 * joint(act, at.q, c).E_dfdf


def _depth(factor: float) -> float:
    if abs(factor - 1) <= STABLE:
        return math.inf
    return -1 / math.log(factor) if factor > 0 else 0.0


def torch_default(act: Function, fan_in: int) -> Criticality:
    """Of torch's own initialisation of Linear and convolutions, U(−1/√fan_in, 1/√fan_in) for weights and biases.

    Its variance is 1/(3 fan_in), so σ_w² = 1/3 and σ_b² = 1/(3 fan_in): a third of what keeps even a linear network's
    signal.  `per_layer` is what that does to the backward value: ReLU √(1/6) = 0.408.  It comes from He et al.'s
    gain with a = √5, which was chosen to give back the range of an older default, not for any activation
    (torch/nn/modules/linear.py, reset_parameters).
    """
    return criticality(act, 1 / 3, 1 / (3 * fan_in))
