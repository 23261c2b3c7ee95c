"""Moments of two correlated pre-activations: how a layer changes the angle between two inputs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from undertow.activations import Pointwise
from undertow.foundation import InputError
from undertow.theory.function import Function, pointwise, swift
from undertow.theory.quadrature import legendre

NODES = 12
"""Nodes a panel."""
FEWER = 6
"""Enough for 2e-6, in a tenth of the time: what a forecast takes once a layer."""
REACH = 7.5
"""Standard deviations to either side: 6e-14 of the weight lies beyond."""
FINEST, WIDEST = 0.5, 4.0
"""The finest panels, beside 0 and each kink, and the widest (a wave of sin has 6), on the scale of the activation."""
WAVES = 16.0
"""Standard deviations of the pre-activation up to which waves are followed: the panels that it takes would fill the
memory.  Beyond, what becomes straight or flat away from its kinks is as exact as before, a wave is lost."""


class Joint(NamedTuple):
    """Expectations over u ~ N(0, q) and v ~ N(0, q2) of correlation c."""

    E_ff: float
    """E[f(u) f(v)]: σ_w² of it plus σ_b² is the next layer's covariance."""
    E_dfdf: float
    """E[f′(u) f′(v)]: σ_w² of it is the slope of the correlation map at equal variances, and the factor by which the
    covariance of the backward values of two inputs changes."""


def joint(act: Function, q: float, c: float, q2: float | None = None, nodes: int = NODES) -> Joint:
    """E[f(u) f(v)] and E[f′(u) f′(v)] for (u, v) Gaussian of means 0, variances q and q2, and correlation c.

    In the coordinates r ∝ u ± v, piecewise Gauss-Legendre split along the lines where u or v is at a kink; as exact
    for c → 1 as for c = 0.  At c = 1 they are E[f²] and E[f′²], at c = 0 the products E[f]² and E[f′]².  Error below
    1e-9 of √(E[f(u)²] E[f(v)²]), and of the same of f′; below 2e-6 with FEWER nodes a panel.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`; InputError for c outside [−1, 1] and variances that are not positive and finite.
    """
    q2 = q if q2 is None else q2
    if not (-1 <= c <= 1 and all(math.isfinite(v) and v > 0 for v in (q, q2))):
        got = f"q={q!r}, c={c!r} and q2={q2!r}"
        raise InputError(got, "positive finite variances and −1 ≤ c ≤ 1", "joint('tanh', q=1.0, c=0.5)")
    single = pointwise(act)
    return (_joint if single.tensors else _joint_once)(single, float(q), float(c), float(q2), nodes)


def _joint(act: Pointwise, q: float, c: float, q2: float, nodes: int = NODES) -> Joint:
    plane = Plane(math.sqrt(q), math.sqrt(q2), c, tuple(dict.fromkeys(act.kinks)))
    u, v, w = plane.nodes(nodes)
    x = torch.from_numpy(np.stack([u, v])).unsqueeze(2).expand(-1, -1, act.channels)
    with torch.no_grad():
        f, df = (swift(act, order)(x.reshape(-1, act.channels)).reshape(x.shape).numpy() for order in (0, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # what grows as an exponential does leaves float64: inf
        return Joint(float(w @ (f[0] * f[1]).mean(axis=1)), float(w @ (df[0] * df[1]).mean(axis=1)))


_joint_once = lru_cache(maxsize=8192)(_joint)


class Plane:
    """u = s₁ (a r + b o), v = ± s₂ (a r − b o) for independent standard normal r and o, a ≥ b."""

    def __init__(self, s1: float, s2: float, c: float, kinks: tuple[float, ...]) -> None:
        self.s1, self.s2, self.sign = s1, s2, math.copysign(1, c)
        self.a, self.b = math.sqrt((1 + abs(c)) / 2), math.sqrt((1 - abs(c)) / 2)
        self.kinks = kinks
        self.even = s1 == s2 and self.sign > 0
        """Whether o and −o give the same, u and v changed for each other."""

    def nodes(self, count: int = NODES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """u, v and w, each of shape (n,), from so many nodes a panel."""
        o, w_o = _panels(self._outer(), count)
        r, w_r = _panels(self._inner(o), count)
        w = (w_r * _normal(r) * (w_o * _normal(o) * (2 if self.even else 1))[:, None]).ravel()
        s, d = self.a * r, self.b * o[:, None]
        keep = w > 0
        return self.s1 * (s + d).ravel()[keep], self.sign * self.s2 * (s - d).ravel()[keep], w[keep]

    def _outer(self) -> np.ndarray:
        """Edges in o: graded where two lines on which f is not smooth cross, and where u = v = 0."""
        apart = [k / self.s1 - self.sign * other / self.s2 for k in self.kinks for other in self.kinks]
        crossings = [x / (2 * self.b) for x in apart if abs(x) < 2 * self.b * REACH]
        scale = self.b * max(self.s1, self.s2)
        edges = np.concatenate([k + _graded(scale) for k in {0.0, *crossings}])
        return np.unique(edges.clip(0 if self.even else -REACH, REACH))

    def _inner(self, o: np.ndarray) -> np.ndarray:
        """Edges in r for each o: graded on both sides of the lines where u or v is 0 or at a kink."""
        offset = self.b * o[:, None] / self.a
        columns = [np.full((len(o), 2), [-REACH, REACH])]
        for k in {0.0, *self.kinks}:
            columns.append(k / (self.a * self.s1) - offset + _graded(self.a * self.s1))
            columns.append(self.sign * k / (self.a * self.s2) + offset + _graded(self.a * self.s2))
        return np.sort(np.concatenate(columns, axis=1).clip(-REACH, REACH), axis=1)


def _graded(scale: float) -> np.ndarray:
    """0 and offsets to both sides, in standard deviations: from FINEST/scale on twice as far each, then as WIDEST."""
    widest = 1.0 if scale > WAVES else min(2.5, WIDEST / scale) if scale else 2.5
    if scale * 2 * REACH < FINEST:
        out = np.arange(widest, 2 * REACH, widest)
    else:
        doubling = FINEST / scale * 2.0 ** np.arange(math.ceil(math.log2(2 * REACH * scale / FINEST)))
        near = doubling[doubling < widest]
        start = near[-1] if len(near) else 0.0
        out = np.concatenate([near, np.arange(start + widest, 2 * REACH, widest)])
    return np.concatenate([-out[::-1], [0.0], out])


def _panels(edges: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre x and w between neighbouring edges, along the last dimension."""
    nodes, weights = legendre(count)
    middle, half = (edges[..., 1:] + edges[..., :-1]) / 2, (edges[..., 1:] - edges[..., :-1]) / 2
    x, w = middle[..., None] + half[..., None] * nodes, half[..., None] * weights
    shape = (*edges.shape[:-1], -1)
    return x.reshape(shape), w.reshape(shape)


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
