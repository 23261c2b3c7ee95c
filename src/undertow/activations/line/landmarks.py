"""The notable points of an activation: zeros, extremes, inflections, kinks, stretches where it is constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from undertow.activations.base import Activation, Pointwise
from undertow.activations.line.grid import Function, channels, function, grid, on_the_line
from undertow.activations.line.turning import Jumps, Sampled, Turn, jumps, sign_changes, stretches, turns, values, zeros
from undertow.activations.traits import traits
from undertow.foundation import InputError

NEAR = 10.0
"""A stretch of f′ = 0 that only begins further out than this, and at no kink, is 0 by rounding.  Our choice."""
ALONG = 0.05
"""A largest |f′| that holds, to rounding, for longer than this has no one place.  Our choice."""
MANY, LISTED = 16, 4
"""An oscillating function has no end of points: from so many on, those nearest to 0 stand for all.  Our choice."""


@dataclass(frozen=True)
class Landmarks:
    """The notable points of one activation over [−10⁴, 10⁴], from left to right; exact to about 1e-9."""

    zeros: tuple[float, ...]
    """Where f is 0 at a point; stretches are in `constant`."""
    extrema: tuple[Turn, ...]
    """Local minima and maxima of f."""
    slope_zeros: tuple[float, ...]
    """Where f′ is 0 at a point."""
    slope_extrema: tuple[Turn, ...]
    """Local minima and maxima of f′; at a jump of f′ with the value of the outer side."""
    steepest_at: float | None
    """Where |f′| is largest; ±inf where it only comes near out there, None where it is along a stretch."""
    constant: tuple[tuple[float, float], ...]
    """Intervals on which f′ is 0: a unit whose inputs all lie there learns nothing."""
    smoothness: float
    """How many derivatives of f are continuous: −1 where f itself jumps, inf without kinks; 2 also stands for more."""
    curvature: str | None
    """"convex", "concave", "linear" or None."""
    strict: bool
    """Strictly monotone, so that there is an inverse."""
    asymptotes: tuple[tuple[float, float] | None, tuple[float, float] | None]
    """(m, c) of the line m x + c that f comes near to at −∞ and +∞; None where there is none."""
    endless: bool
    """Some lists hold only the nearest to 0 of a number without end."""

    @property
    def inflections(self) -> tuple[float, ...]:
        """Where the curvature changes sign: where f′ turns."""
        return tuple(t.x for t in self.slope_extrema)


def landmarks(act: Activation) -> Landmarks:
    """Find the notable points of an activation; a definition without tensors is searched once.

    Raises
    ------
    InputError
        For an activation that couples elements, and for one whose parameters differ by channel: each channel has
        points of its own.
    """
    single = on_the_line(act, "landmarks(activation('gelu'))")
    if channels(single) > 1:
        got = f"{act.name} with parameters of {channels(single)} channels"
        raise InputError(got, "the parameters of one", "landmarks(activation('prelu', slope=0.25))")
    return _found(single) if single.tensors else _found_once(single)


@lru_cache(maxsize=1024)
def _found_once(act: Pointwise) -> Landmarks:
    return _found(act)


def _found(act: Pointwise) -> Landmarks:
    f, df, d2f = (function(act, order) for order in (0, 1, 2))
    with torch.no_grad():
        column = grid(act)
        x, y, first, second = (t.reshape(-1) for t in (column, f(column), df(column), d2f(column)))
        far = x.abs().clamp(min=1)
        rising = _above(first, 1e-14 * y.abs().clamp(min=1) / far)
        bending = _above(second, 1e-14 * first.abs().clamp(min=1) / far)
        leaps = [jumps(h, act.kinks) for h in (f, df, d2f)]
        of_f = turns(Sampled(f, df, x, rising, act.kinks, leaps[0]))
        of_df = turns(Sampled(df, d2f, x, bending, act.kinks, leaps[1]))
        points = {
            "zeros": zeros(f, x, _above(y, 1e-15 * x.abs() * first.abs().clamp(min=1)), act.kinks, of_f),
            "extrema": of_f,
            "slope_zeros": zeros(df, x, rising, act.kinks, of_df),
            "slope_extrema": of_df,
        }
        return Landmarks(
            **{name: _nearest(found) for name, found in points.items()},
            steepest_at=_steepest_at(act, x, first.abs(), of_df),
            constant=(flat := _constant(df, x, first, act.kinks)),
            smoothness=_smoothness(leaps, act.kinks),
            curvature=_curvature(bending, *leaps[:2]),
            strict=traits(act).monotone and not flat and not of_f,
            asymptotes=(_asymptote(act, -1), _asymptote(act, 1)),
            endless=any(len(found) > MANY for found in points.values()),
        )


def _above(values: Tensor, noise: Tensor) -> Tensor:
    """The values, with 0 for those that may be rounding."""
    return torch.where(values.abs() <= noise, torch.zeros_like(values), values)


def _nearest(points: list[Any]) -> tuple[Any, ...]:
    if len(points) <= MANY:
        return tuple(points)
    distance = [abs(p.x if isinstance(p, Turn) else p) for p in points]
    limit = sorted(distance)[LISTED - 1]
    return tuple(p for p, d in zip(points, distance, strict=True) if d <= limit)


def _steepest_at(act: Pointwise, x: Tensor, size: Tensor, turning: Sequence[Turn]) -> float | None:
    measured = traits(act)
    least = measured.steepest * (1 - 1e-9)
    reached = stretches(x, (size < measured.steepest * (1 - 1e-13)).double())
    if any(min(b, NEAR) - max(a, -NEAR) > ALONG for a, b in reached):
        return None
    places = [t.x for t in turning if abs(t.value) >= least]
    ends = [e for e, v in zip((-math.inf, math.inf), measured.end_slopes, strict=True) if abs(v) >= least]
    return min(places, key=abs) if places else (ends[-1] if ends else None)


def _constant(df: Function, x: Tensor, first: Tensor, kinks: Sequence[float]) -> tuple[tuple[float, float], ...]:
    found = []
    for low, high in stretches(x, first):
        before, after = x[x < low][-1:].tolist(), x[x > high][:1].tolist()
        edges = (
            _edge(df, before[0], low, kinks) if before else -math.inf,
            _edge(df, after[0], high, kinks) if after else math.inf,
        )
        underflow = any(abs(v) < 1e-100 for v in values(df, [*before, *after]))
        seen = (low <= NEAR and high >= -NEAR) or any(edge in kinks for edge in edges)
        if seen and not underflow:
            found.append(edges)
    return tuple(found)


def _edge(df: Function, moving: float, still: float, kinks: Sequence[float]) -> float:
    """Where a stretch of f′ = 0 ends between a point outside of it and one inside: at a kink, else by bisection."""
    declared = [k for k in kinks if min(moving, still) <= k <= max(moving, still)]
    if declared:
        return declared[0]
    (place,) = sign_changes(lambda t: torch.where(df(t) == 0, -1.0, 1.0).double(), [(moving, still, 1.0)])
    return place


def _smoothness(leaps: Sequence[Jumps], kinks: Sequence[float]) -> float:
    jumping = [order for order, leap in enumerate(leaps) if leap]
    return jumping[0] - 1 if jumping else (2 if kinks else math.inf)


def _curvature(bending: Tensor, of_f: Jumps, of_df: Jumps) -> str | None:
    signs = {v for v in bending.sign().unique().tolist() if v} | {math.copysign(1, d) for d in of_df.values()}
    if of_f or len(signs) > 1:
        return None
    return {(): "linear", (1.0,): "convex", (-1.0,): "concave"}[tuple(signs)]


def _asymptote(act: Pointwise, side: int) -> tuple[float, float] | None:
    """The slope at the end, and f − slope · x out there, extrapolated in 1/x."""
    slope = traits(act).end_slopes[(side + 1) // 2]
    if not math.isfinite(slope):
        return None
    x = side * 2.0 ** torch.arange(10, 17, 2, dtype=torch.float64)
    rest = (function(act, 0)(x.unsqueeze(1)).squeeze(1) - slope * x).tolist()
    nearer, further = _extrapolated(rest[:3]), _extrapolated(rest[1:])
    return (slope, round(further, 10) + 0.0) if abs(further - nearer) <= 1e-6 else None


def _extrapolated(values: Sequence[float]) -> float:
    """The limit of c + a/x + b/x² from three values, x four times as large each."""
    u, v, w = values
    first = (4 * v - u) / 3, (4 * w - v) / 3
    return (16 * first[1] - first[0]) / 15
