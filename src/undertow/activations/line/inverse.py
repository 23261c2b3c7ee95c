"""f⁻¹(y) of a strictly monotone activation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undertow.activations.base import Activation
from undertow.activations.kinds import Numeric, through
from undertow.activations.line.grid import function, on_the_line
from undertow.activations.line.landmarks import landmarks
from undertow.activations.traits import traits
from undertow.foundation import InputError
from undertow.foundation.numbers import written


def inverse(act: Activation, y: Numeric) -> Numeric:
    """The x with f(x) = y, in float64 by bisection to neighbouring numbers; NaN outside the range of f.

    Where rounding makes f equal to y along an interval (sigmoid near 1), its middle.  At a limit of f, ±inf.

    Raises
    ------
    InputError
        Where f takes a value twice (the message says where it turns or is constant), and as `landmarks` does.
    """
    why = why_none(act)
    if why:
        raise InputError(f"{act.label}, which {why}", "a strictly monotone activation", "inverse(activation('elu'), y)")
    return through(lambda t: _solved(act, t.detach().double()).to(t.dtype), y)


def why_none(act: Activation) -> str | None:
    """Why an activation has no inverse; None where it has one."""
    found = landmarks(act)
    if found.strict:
        return None
    if found.constant:
        low, high = found.constant[0]
        return f"is constant from {written(low)} to {written(high)}"
    turning = min((t.x for t in found.extrema), key=abs, default=None)
    return "rises and falls" if turning is None else f"turns at x = {written(turning, 6)}"


def _solved(act: Activation, y: Tensor) -> Tensor:
    single = on_the_line(act, "inverse(activation('elu'), 0.5)")
    measured, f = traits(single), function(single, 0)
    sign = 1.0 if measured.highest > -measured.lowest else -1.0
    goal = y.reshape(-1, 1)
    with torch.no_grad():
        below = _last(lambda x: sign * f(x) < sign * goal, goal)
        until = _last(lambda x: sign * f(x) <= sign * goal, goal)
        first = below.nextafter(torch.full_like(below, math.inf))  # from here to `until` f is y, to rounding
        nearer = torch.where((f(first) - goal).abs() < (f(below) - goal).abs(), first, below)
        x = torch.where(until >= first, first + (until - first) / 2, nearer).reshape(y.shape)
    for limit, end in zip(measured.limits, (-math.inf, math.inf), strict=True):
        x = torch.where(y == limit, end, x)
    return torch.where((y >= measured.range[0]) & (y <= measured.range[1]), x, math.nan)


def _last(holds: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The largest number for which something holds that holds up to it: bisection of all 2⁶⁴ float64 in order."""
    low, high = (_rank(torch.full_like(like, side * torch.finfo(torch.float64).max)) for side in (-1, 1))
    for _ in range(65):
        middle = (low & high) + ((low ^ high) >> 1) + ((low ^ high) & 1)  # the mean, rounded up, without overflow
        true = holds(_rank(middle).view(torch.float64))
        low, high = torch.where(true, middle, low), torch.where(true, high, middle - 1)
    return _rank(low).view(torch.float64)


def _rank(x: Tensor) -> Tensor:
    """The bits of float64 as integers in the order of the numbers, and back."""
    bits = x.view(torch.int64)
    return bits ^ ((bits >> 63) & torch.iinfo(torch.int64).max)
