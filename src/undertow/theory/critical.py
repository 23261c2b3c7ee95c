"""The initialisations at which a deep network keeps the size of its gradient: the edge of chaos."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from undertow.activations import Pointwise
from undertow.activations.line.grid import beside
from undertow.foundation import InputError
from undertow.theory.function import Function, pointwise
from undertow.theory.interpolate import moments_at
from undertow.theory.moments import moments
from undertow.theory.roots import crossings

SMALLEST, LARGEST, POINTS = 1e-8, 1e4, 2401
"""Variances among which fixed points and critical points are sought, 200 a decade.  Our choice."""
STABLE = 1e-9
"""χ∥ within this of 1 is called 1."""


class Critical(NamedTuple):
    """Weights N(0, σ_w²/fan_in) and biases N(0, σ_b²) for which the variance q is kept and χ⊥ = 1."""

    q: float
    sigma_w2: float
    """1/E[f′²]."""
    sigma_b2: float
    """q − σ_w² E[f²]; below 0 no biases do it."""
    chi_parallel: float
    """σ_w² dE[f²]/dq: above 1 the variance leaves q exponentially with depth, by this factor a layer."""

    @property
    def feasible(self) -> bool:
        return self.sigma_b2 >= -1e-12 * max(self.q, self.sigma_w2)

    @property
    def holds(self) -> bool:
        """Whether the variance stays where it is put: |χ∥| ≤ 1."""
        return abs(self.chi_parallel) <= 1 + STABLE

    @property
    def sigma_w(self) -> float:
        return math.sqrt(self.sigma_w2)

    @property
    def sigma_b(self) -> float:
        """NaN where no biases do it."""
        return math.sqrt(max(self.sigma_b2, 0.0)) if self.feasible else math.nan


def critical_point(act: Function, q: float | None = None, sigma_b2: float | None = None) -> Critical:
    """σ_w² = 1/E[f′²] and σ_b² = q − σ_w² E[f²], u ~ N(0, q): χ⊥ = 1 at the variance q.

    Given q ≥ 0, where 0 is the limit: tanh has (1, 0) there.  Or given σ_b² ≥ 0, by the smallest q that needs it;
    for a positively homogeneous function and σ_b² = 0, which keep any variance, q = 1.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`; InputError where not just one of q and σ_b² is given, and where no variance needs this σ_b².

    References
    ----------
    Poole et al. (2016), arXiv:1606.05340; Schoenholz et al. (2017), arXiv:1611.01232.
    """
    example = "critical_point('tanh', q=1.0)"
    if (q is None) == (sigma_b2 is None):
        raise InputError(f"q={q!r} and sigma_b2={sigma_b2!r}", "one of the two", example)
    single = pointwise(act)
    if q is not None:
        return _at_zero(single) if q == 0 else _at(single, q)
    assert sigma_b2 is not None
    if not (0 <= sigma_b2 < math.inf):
        raise InputError(f"sigma_b2={sigma_b2!r}", "a finite number of 0 or more", example)
    return _with_bias(single, sigma_b2)


def critical_curve(act: Function, q: np.ndarray | None = None) -> list[Critical]:
    """The critical points for an array of variances, by default 201 from 10⁻⁴ to 10⁴, infeasible ones among them."""
    single = pointwise(act)
    every = np.logspace(-4, 4, 201) if q is None else np.asarray(q, dtype=float)
    m = moments_at(single, every)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sigma_w2 = 1 / np.asarray(m.E_df2)
        columns = every, sigma_w2, every - sigma_w2 * m.E_f2, sigma_w2 * m.dE_f2_dq
    return [Critical(*map(float, row)) for row in zip(*columns, strict=True)]


def half_stable(act: Function) -> Critical | None:
    """The critical point with χ∥ = 1 as well, where E[f f″] = 0; None where there is none.

    For GELU, SiLU and Mish, whose critical points at smaller variances repel, it is the first that does not: from one
    side (GELU: from above; Mish: from below) variances come near, to the other they leave, slowly.  Roberts, Yaida,
    Hanin (2022), arXiv:2106.10165, §5.3.4.  A positively homogeneous function has it at every variance; the one at 1
    is given.
    """
    single = pointwise(act)
    q = grid()
    m = moments_at(single, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.asarray(m.E_f_ddf) / np.asarray(m.E_df2)
    if (np.abs(relative) < 1e-9).all():
        return _at(single, 1.0)
    relative[np.abs(relative) < 1e-9] = 0.0  # rounding, where f is straight on all that such inputs reach
    found = crossings(lambda v: _bend(single, v), q, relative)
    return min((_at(single, v) for v in found), key=lambda point: point.q, default=None)


def _bend(act: Pointwise, q: float) -> float:
    m = moments(act, q)
    return m.E_f_ddf / m.E_df2


def _at(act: Pointwise, q: float) -> Critical:
    m = moments(act, q)
    if not (0 < m.E_df2 < math.inf):
        got = f"{act.label}, whose E[f′²] at q={q:g} is {m.E_df2:g}"
        raise InputError(got, "an activation with a slope", "critical_point('tanh', q=1.0)")
    sigma_w2 = 1 / m.E_df2
    sigma_b2 = q - sigma_w2 * m.E_f2
    rounding = abs(sigma_b2) < 1e-14 * q
    return Critical(float(q), sigma_w2, 0.0 if rounding else sigma_b2, sigma_w2 * m.dE_f2_dq)


def _at_zero(act: Pointwise) -> Critical:
    """The limit q → 0, from the value and the slopes on both sides of 0."""
    value, square, bend = at_zero(act)
    if square == 0:
        got = f"{act.label}, whose slope at 0 is 0"
        raise InputError(got, "a variance above 0", f"critical_point({act.name!r}, q=1.0)")
    return Critical(0.0, 1 / square, 0.0 - value**2 / square, 1 + value * bend / square)


def at_zero(act: Pointwise) -> tuple[float, float, float]:
    """f(0), the mean of f′(0±)², and f″(0) (±∞ at a kink); a step at 0 has no limit and counts with its sides."""
    sides = torch.tensor([beside(0.0, s) for s in (-1, 1)], dtype=torch.float64)
    x = sides.unsqueeze(1).expand(-1, act.channels)
    with torch.no_grad():
        f, df, d2f = (h(x).mean(dim=1).tolist() for h in (act, act.derivative, act.second_derivative))
    slopes = [s * s for s in df]
    kink = df[1] - df[0]
    bend = sum(d2f) / 2 if abs(kink) < 1e-9 * (1 + abs(df[0])) else math.copysign(math.inf, kink)
    value = sum(f) / 2
    return (value, sum(slopes) / 2, bend) if abs(value) > 1e-300 else (0.0, sum(slopes) / 2, 0.0)


def _with_bias(act: Pointwise, sigma_b2: float) -> Critical:
    q = grid()
    m = moments_at(act, q)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (q - np.asarray(m.E_f2) / np.asarray(m.E_df2)) / q
    if sigma_b2 == 0:
        if (np.abs(needed) < 1e-9).all():
            return _at(act, 1.0)
        value, square, _ = at_zero(act)
        if value == 0 and square > 0:
            return _at_zero(act)
    found = crossings(lambda v: (_at(act, v).sigma_b2 - sigma_b2) / v, q, needed - sigma_b2 / q)
    if not found:
        needs = [needed[0] * q[0], *(needed * q).tolist()]
        expected = f"one between {max(min(needs), 0.0):.4g} and {max(needs):.4g}"
        raise InputError(f"sigma_b2={sigma_b2!r} for {act.label}", expected, f"critical_point({act.name!r}, q=1.0)")
    return _at(act, found[0])


def grid() -> np.ndarray:
    """The variances among which fixed points and critical points are sought."""
    return np.geomspace(SMALLEST, LARGEST, POINTS)
