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
REFINED = 64
"""Sign changes that are refined, the nearest to 0 first: an oscillating function has thousands on the grid."""
JUMP = 1e-6
"""A jump: two sides of a kink that differ by more than this share of their size.  Our choice."""

Jumps = dict[float, float]
"""By how much a function jumps at each kink where it does."""


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
    kinks: Sequence[float]
    jumps: Jumps


def values(function: Function, places: Sequence[float]) -> list[float]:
    return function(torch.tensor(places, dtype=torch.float64).unsqueeze(1)).flatten().tolist() if places else []


def jumps(function: Function, kinks: Sequence[float]) -> Jumps:
    """By how much the function jumps at each kink where it does."""
    here, left, right = (values(function, [beside(k, s) if s else k for k in kinks]) for s in (0, -1, 1))
    sides = zip(kinks, here, left, right, strict=True)
    return {k: b - a for k, y, a, b in sides if abs(b - a) > JUMP * (1 + abs(y))}


def turns(h: Sampled) -> list[Turn]:
    """Where h goes from rising to falling or back, from left to right; nothing for a plateau."""
    changes = sorted(_changes(h.slope, h.x, h.slopes, h.kinks, h.jumps), key=lambda change: change[0])
    places = [place + 0.0 for place, _ in changes]
    sides = [values(h.function, [beside(p, s) if s and p in h.kinks else p for p in places]) for s in (-1, 0, 1)]
    return [
        Turn(place, max(around) if rising else min(around), rising)
        for place, (_, rising), around in zip(places, changes, zip(*sides, strict=True), strict=True)
    ]


def zeros(function: Function, x: Tensor, y: Tensor, kinks: Sequence[float], turning: Sequence[Turn]) -> list[float]:
    """Where the function is 0 at a point: it changes its sign there without a jump, or touches 0 as it turns."""
    crossed = [p for p, _ in _changes(function, x, y, kinks, {})]
    scale = y[(x.abs() <= 20) & y.isfinite()].abs().max().item()
    around = [values(function, [p + s * 1e-12 * (1 + abs(p)) for p in crossed]) for s in (-1, 1)]
    through = [p for p, a, b in zip(crossed, *around, strict=True) if max(abs(a), abs(b)) <= 1e-9 * scale]
    touched = [t.x for t in turning if abs(t.value) <= 1e-13 * scale]
    return sorted({p + 0.0 for p in (*through, *touched)})


def _changes(
    slope: Function, x: Tensor, slopes: Tensor, kinks: Sequence[float], jumping: Jumps
) -> list[tuple[float, bool]]:
    """Where the sign of the slopes changes, and whether from + to −."""
    signs = slopes.nan_to_num(nan=0).sign()
    seen = signs.nonzero().flatten()
    events = [(p, s, False) for p, s in zip(x[seen].tolist(), signs[seen].tolist(), strict=True) if p not in kinks]
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
    brackets = sorted(brackets, key=lambda bracket: abs(bracket[0]))[:REFINED]
    for place, (_, _, s) in zip(sign_changes(slope, brackets), brackets, strict=True):
        kink = next((k for k in kinks if abs(k - place) <= 1e-12 * (1 + abs(k))), place)
        found.append((kink, s > 0))
    return found


def stretches(x: Tensor, y: Tensor) -> list[tuple[float, float]]:
    """The intervals longer than STRETCH on whose grid points y is exactly 0."""
    still = torch.cat([torch.zeros(1), (y == 0).double(), torch.zeros(1)]).diff()
    starts, ends = x[still[:-1] == 1], x[still[1:] == -1]
    return [(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True) if b - a > STRETCH]


def sign_changes(function: Function, brackets: Sequence[tuple[float, float, float]]) -> list[float]:
    """The place of the sign change in each (low, high, sign at low), all at once, cut into 64 eleven times."""
    if not brackets:
        return []
    low, high, sign = (t.unsqueeze(1) for t in torch.tensor(brackets, dtype=torch.float64).unbind(1))
    # close to an exact 0 at 0, as of x − tanh x, signs may be rounding
    at_zero = (low < 0) & (high > 0) & (function(torch.zeros_like(low)) == 0)
    share = torch.arange(65, dtype=torch.float64) / 64
    for _ in range(11):
        x = low + (high - low) * share
        x[:, -1:] = high
        y = function(x.reshape(-1, 1)).reshape(x.shape) * sign
        y[:, :1], y[:, -1:] = 1, y[:, -1:].clamp(max=0)
        first = (y <= 0).double().argmax(dim=1, keepdim=True)
        high = x.gather(1, first)
        low = torch.where(y.gather(1, first) == 0, high, x.gather(1, first - 1))
    return torch.where(at_zero, 0.0, low + (high - low) / 2).flatten().tolist()
