"""Moments at many variances at once, as the spatial map of a padded convolution needs them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache

import numpy as np

from undertow.activations import Pointwise
from undertow.foundation import InputError
from undertow.theory.function import Function, pointwise
from undertow.theory.moments import Moments, computed, from_jumps, sampled, terms_of
from undertow.theory.quadrature import REACH, density, line_nodes

SPAN = 16.0
"""Variances from SPAN^k to SPAN^(k+1) share one interpolation."""
CHEBYSHEV = 32
"""Its nodes in log q.  A Gaussian moment is analytic in |arg q| < π/2 whatever the kinks of f, a strip around the
real log q, so that the error falls as 2.6^−n: 1e-13."""
HELD = 1e-11
"""The largest error allowed between the nodes, as a share of the moment's size over the span, else it is halved."""
HALVED = 5
"""How often; then every variance is computed by itself."""
FIELDS = len(fields(Moments))


def moments_at(act: Function, q: np.ndarray, mean: float = 0.0, kinks: Sequence[float] | None = None) -> Moments:
    """`moments` for an array of variances: each field an array of its shape, to 1e-10 of the moment's size.

    Interpolated in log q between Chebyshev nodes that are computed once for each factor of 16 in q, less where that
    does not hold.

    Raises
    ------
    UnknownNameError, InputError
        As `moments`.
    """
    every = np.asarray(q, dtype=float)
    if not (every.size and np.isfinite(every).all() and (every > 0).all() and math.isfinite(mean)):
        got = f"variances from {every.min():g} to {every.max():g}" if every.size else "no variances"
        raise InputError(got, "positive finite variances and a finite mean", "moments_at('relu', np.array([0.5, 1.0]))")
    single = pointwise(act, kinks)
    flat, out = every.ravel(), np.empty((FIELDS, every.size))
    spans = np.floor(np.log(flat) / math.log(SPAN)).astype(int)
    for k in np.unique(spans):
        there = spans == k
        out[:, there] = (_span if single.tensors else _span_once)(single, int(k), float(mean)).at(flat[there])
    return Moments(*out.reshape(FIELDS, *every.shape))  # pyright: ignore[reportArgumentType]


class Span:
    """All moments for variances with log q in [low, high]."""

    def __init__(self, act: Pointwise, low: float, high: float, mean: float, halved: int = 0) -> None:
        self.act, self.low, self.high, self.mean, self.halved = act, low, high, mean, halved
        angles = (2 * np.arange(CHEBYSHEV) + 1) * math.pi / (2 * CHEBYSHEV)
        self.nodes, self.weights = np.cos(angles), np.sin(angles) * (-1.0) ** np.arange(CHEBYSHEV)
        self.values = self._direct(np.exp(self._log(self.nodes)))
        self.halves: list[Span] | None = None
        self.held = self._holds()

    def at(self, q: np.ndarray) -> np.ndarray:
        """Of shape (FIELDS, *q.shape)."""
        if self.held:
            return self._interpolated(q)
        if self.halved == HALVED:
            different, where = np.unique(q, return_inverse=True)
            return self._one_by_one(different)[:, where]
        middle = (self.low + self.high) / 2
        self.halves = self.halves or [
            Span(self.act, low, high, self.mean, self.halved + 1)
            for low, high in ((self.low, middle), (middle, self.high))
        ]
        out, upper = np.empty((FIELDS, q.size)), np.log(q) > middle
        for half, there in zip(self.halves, (~upper, upper), strict=True):
            if there.any():
                out[:, there] = half.at(q[there])
        return out

    def _log(self, s: np.ndarray) -> np.ndarray:
        return self.low + (s + 1) / 2 * (self.high - self.low)

    def _direct(self, q: np.ndarray) -> np.ndarray:
        smallest, largest = math.exp(self.low / 2), math.exp(self.high / 2)
        # two standard deviations wide: 40 nodes take the Gaussian on such a panel to rounding, and sin(x)⁸ on 4
        x, w = line_nodes(self.mean, min(2 * smallest, 4.0), REACH * largest, self.act.kinks)
        of, deviation = sampled(self.act, x), np.sqrt(q)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows does not hold
            total = terms_of(of, x - self.mean, w) @ density(x[:, None], self.mean, deviation)
            total[-1] = total[-1] / q + from_jumps(of, self.mean, deviation)
        return total

    def _holds(self) -> bool:
        between = np.exp(self._log(np.array([-0.999, 0.02, 0.999])))
        with np.errstate(invalid="ignore"):
            exact = self._one_by_one(between)
            off = np.abs(self._interpolated(between) - exact).max(axis=1)
            return bool((off <= HELD * _sizes(exact)).all())

    def _one_by_one(self, q: np.ndarray) -> np.ndarray:
        return np.array([list(vars(computed(self.act, v, self.mean)).values()) for v in q.tolist()]).T

    def _interpolated(self, q: np.ndarray) -> np.ndarray:
        """Barycentric, at Chebyshev nodes of the first kind."""
        s = 2 * (np.log(q) - self.low) / (self.high - self.low) - 1
        away = s[:, None] - self.nodes
        away[away == 0] = 1e-300  # at a node itself its own weight then drowns the others
        share = self.weights / away
        return (share @ self.values.T / share.sum(axis=1, keepdims=True)).T


def _sizes(exact: np.ndarray) -> np.ndarray:
    """The size that an error of each moment is compared with: that of its square where it may itself be 0."""
    of = Moments(*exact)
    sizes = [of.E_f2**0.5, of.E_f2, of.E_df2**0.5, of.E_df2, of.E_df4, of.E_f4, of.E_df2]
    return np.array([np.max(size) for size in sizes])


def _span(act: Pointwise, k: int, mean: float) -> Span:
    return Span(act, k * math.log(SPAN), (k + 1) * math.log(SPAN), mean)


_span_once = lru_cache(maxsize=512)(_span)
