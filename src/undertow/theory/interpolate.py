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
from undertow.theory.moments import WIDER, Moments, computed, from_jumps, sampled, terms_of, within
from undertow.theory.quadrature import WAVE, density, line_nodes

SPAN = 16.0
"""Variances from SPAN^k to SPAN^(k+1) share one interpolation."""
CHEBYSHEV = 32
"""Its nodes in log q.  A Gaussian moment is analytic in |arg q| < π/2 whatever the kinks of f, a strip around the
real log q, so that the error falls as 2.6^−n: 1e-13."""
HELD = 1e-11
"""The largest error allowed between the nodes, as a share of the moment's size over the span, else it is halved."""
ROUNDED = 1e-6
"""An error above it is no rounding."""
NOTHING = 1e-200
"""A moment so small counts as 0."""
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
        self.halves: list[Span] | None = None
        between = np.exp(self._log(np.array([-0.999, 0.02])))
        self.exact = between, self._one_by_one(between)
        at_low = self.exact[1][:, 0]
        self.gone = np.where(np.isfinite(at_low), 0.0, at_low)
        """Per moment, what it is at all these variances if it is no number: one that has left float64 at the smallest
        variance has at the larger ones; NaN where f is not defined."""
        if not (self.gone == 0).any():
            self.values, self.logs, self.off = np.zeros((FIELDS, CHEBYSHEV)), np.zeros(FIELDS, dtype=bool), 0.0
            return
        near, wide = WIDER
        self.reach = near if within(act, math.exp(high), mean, near)[1] else wide
        for plain in (True, False):
            self.values = self._direct(np.exp(self._log(self.nodes)), plain)
            self.logs, self.off = self._best()
            if self.held or self.off > ROUNDED:  # no digits of f are missing
                break

    @property
    def held(self) -> bool:
        return self.off <= HELD

    def at(self, q: np.ndarray) -> np.ndarray:
        """Of shape (FIELDS, *q.shape)."""
        if self.held:
            return self._interpolated(q, self.logs)
        if self.halved >= HALVED:
            different, where = np.unique(q, return_inverse=True)
            return self._one_by_one(different)[:, where]
        middle = (self.low + self.high) / 2
        self.halves = self.halves or self._halves(middle)
        out, upper = np.empty((FIELDS, q.size)), np.log(q) > middle
        for half, there in zip(self.halves, (~upper, upper), strict=True):
            if there.any():
                out[:, there] = half.at(q[there])
        return out

    def _halves(self, middle: float) -> list[Span]:
        ends = (self.low, middle), (middle, self.high)
        halves = [Span(self.act, low, high, self.mean, self.halved + 1) for low, high in ends]
        for half in halves:
            if self.off / 10 < half.off < 1e-4:  # halving does not help: a function that swings too fast for its panels
                half.halved = HALVED
        return halves

    def _log(self, s: np.ndarray) -> np.ndarray:
        return self.low + (s + 1) / 2 * (self.high - self.low)

    def _direct(self, q: np.ndarray, plain: bool) -> np.ndarray:
        smallest, largest = math.exp(self.low / 2), math.exp(self.high / 2)
        step = min(2 * smallest, max(WAVE, smallest / 8))  # 40 nodes take two standard deviations to rounding
        x, w = line_nodes(self.mean, step, self.reach * largest, self.act.kinks)
        of, deviation = sampled(self.act, x, plain), np.sqrt(q)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows does not hold
            terms = terms_of(of, x - self.mean, w)
            if np.isfinite(terms).all():
                total = terms @ density(x[:, None], self.mean, deviation)
            else:  # f⁴ of an exponential, far out where next to no weight is: weighted before it is squared
                weights = (w * density(x, self.mean, d) for d in deviation.tolist())
                total = np.stack([terms_of(of, x - self.mean, each).sum(axis=1) for each in weights], axis=1)
            total[-1] = total[-1] / q + from_jumps(of, self.mean, deviation)
        return total

    def _best(self) -> tuple[np.ndarray, float]:
        """Of which moments the logarithm is interpolated (as of those that go with an exponential of q), and the
        largest error between the nodes, as a share of the moment's size; inf where one is not finite."""
        q, exact = self.exact
        errors = []
        for logs in (np.zeros(FIELDS, dtype=bool), np.asarray((self.values > 0).all(axis=1))):
            with np.errstate(invalid="ignore"):
                off = np.abs(self._interpolated(q, logs) - exact).max(axis=1) / _sizes(exact)
            errors.append(np.nan_to_num(off, nan=math.inf))
        return errors[1] < errors[0], float(np.min(errors, axis=0)[self.gone == 0].max(initial=0.0))

    def _one_by_one(self, q: np.ndarray) -> np.ndarray:
        return np.array([list(vars(computed(self.act, v, self.mean)).values()) for v in q.tolist()]).T

    def _interpolated(self, q: np.ndarray, logs: np.ndarray) -> np.ndarray:
        """Barycentric, at Chebyshev nodes of the first kind."""
        s = 2 * (np.log(q) - self.low) / (self.high - self.low) - 1
        away = s[:, None] - self.nodes
        away[away == 0] = 1e-300  # at a node itself its own weight then drowns the others
        share = self.weights / away
        values = self.values.copy()
        values[logs] = np.log(values[logs])
        with np.errstate(invalid="ignore", over="ignore"):
            found = (share @ values.T / share.sum(axis=1, keepdims=True)).T
            found[logs] = np.exp(found[logs])
        return np.where((self.gone == 0)[:, None], found, self.gone[:, None])


def _sizes(exact: np.ndarray) -> np.ndarray:
    """The size that an error of each moment is compared with: that of its square where it may itself be 0."""
    of = Moments(*exact)
    sizes = [of.E_f2**0.5, of.E_f2, of.E_df2**0.5, of.E_df2, of.E_df4, of.E_f4, of.E_df2 + abs(of.dE_f2_dq)]
    return np.array([np.max(size) for size in sizes]) + NOTHING


def _span(act: Pointwise, k: int, mean: float) -> Span:
    return Span(act, k * math.log(SPAN), (k + 1) * math.log(SPAN), mean)


_span_once = lru_cache(maxsize=512)(_span)
