"""Where a function of one number is 0 and where it turns, from its values and slopes on a grid.

Signs are compared between neighbours and the place between them is found by bisection.  A jump at a kink counts as
a slope of its sign, so that a one-sided extreme (of f′ of hardswish at ±3) is found as any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.activations.line.grid import Function, beside

STRETCH = 1e-5
"""Exact zeros along more than this length are a stretch on which nothing happens, not a zero.  Our choice."""
JUMP = 1e-6
"""A jump: two sides of a kink that differ by more than this share of their size.  Our choice."""


class Turn(NamedTuple):
    """A strict local extreme, of one side at least: x, the value (the outermost of both sides at a jump), its kind."""

    x: float
    value: float
    is_maximum: bool


class Sampled(NamedTuple):
    """A function with its slope on a grid of shape (n,); slopes that are only rounding are 0."""

    function: Function
    slope: Function
    x: Tensor
    slopes: Tensor


def jumps(function: Function, kinks: Sequence[float]) -> dict[float, float]:
    """By how much the function jumps at each kink where it does."""
    found = {k: value(function, beside(k, 1)) - value(function, beside(k, -1)) for k in kinks}
    return {k: d for k, d in found.items() if abs(d) > JUMP * (1 + abs(value(function, k)))}


def value(function: Function, x: float) -> float:
    return function(torch.tensor([[x]], dtype=torch.float64)).item()


def turns(h: Sampled, kinks: Sequence[float]) -> list[Turn]:
    """Where h goes from rising to falling or back, from left to right; nothing for a plateau."""
    found = []
    changes = _changes(h.slope, h.x, h.slopes, kinks, jumps(h.function, kinks))
    for place, rising in sorted(changes, key=lambda change: change[0]):
        sides = [value(h.function, place + 0.0)]
        if place in kinks:
            sides += [value(h.function, beside(place, side)) for side in (-1, 1)]
        found.append(Turn(place + 0.0, max(sides) if rising else min(sides), rising))
    return found


def zeros(function: Function, x: Tensor, y: Tensor, kinks: Sequence[float], turning: Sequence[Turn]) -> list[float]:
    """Where the function is 0 at a point: it changes its sign there without a jump, or touches 0 as it turns."""
    crossed = [p for p, _ in _changes(function, x, y, kinks, {})]
    scale = y[(x.abs() <= 20) & y.isfinite()].abs().max().item()
    through = [
        p for p in crossed if max(abs(value(function, p + s * 1e-12 * (1 + abs(p)))) for s in (-1, 1)) <= 1e-9 * scale
    ]
    touched = [t.x for t in turning if abs(t.value) <= 1e-13 * scale]
    return sorted({p + 0.0 for p in (*through, *touched)})


def _changes(
    slope: Function, x: Tensor, slopes: Tensor, kinks: Sequence[float], jumping: dict[float, float]
) -> list[tuple[float, bool]]:
    """Where the sign of the slopes changes, and whether from + to −."""
    signs = zip(x.tolist(), slopes.nan_to_num(nan=0).sign().tolist(), strict=True)
    events = [(p, s, False) for p, s in signs if s and p not in kinks]
    events += [(k, math.copysign(1, d), True) for k, d in jumping.items()]
    found, brackets = [], []
    still = stretches(x, slopes)
    for (p, s, p_jumps), (q, t, q_jumps) in pairwise(sorted(events)):
        if s == t or any(min(b, q) - max(a, p) > STRETCH for a, b in still):
            continue
        if p_jumps or q_jumps:
            found.append((p if p_jumps else q, s > 0))
        else:
            brackets.append((p, q, s))
    places = bisected(slope, brackets)
    return [*found, *((place, s > 0) for place, (_, _, s) in zip(places, brackets, strict=True))]


def stretches(x: Tensor, y: Tensor) -> list[tuple[float, float]]:
    """The intervals longer than STRETCH on whose grid points y is exactly 0."""
    still = torch.cat([torch.zeros(1), (y == 0).double(), torch.zeros(1)]).diff()
    starts, ends = x[still[:-1] == 1], x[still[1:] == -1]
    return [(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True) if b - a > STRETCH]


def bisected(function: Function, brackets: Sequence[tuple[float, float, float]]) -> list[float]:
    """The place of the sign change in each (low, high, sign at low), all at once."""
    if not brackets:
        return []
    low, high, sign = torch.tensor(brackets, dtype=torch.float64).unbind(1)
    for _ in range(64):
        middle = low + (high - low) / 2
        y = function(middle.unsqueeze(1)).squeeze(1) * sign
        low, high = torch.where(y >= 0, middle, low), torch.where(y <= 0, middle, high)
    return (low + (high - low) / 2).tolist()
