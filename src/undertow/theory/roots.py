"""Zeros of a function of one positive number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def crossings(h: Callable[[float], float], x: np.ndarray, values: np.ndarray) -> list[float]:
    """Where h changes its sign, in order: `values` are h on the rising grid x, exact zeros among them left out."""
    known = np.flatnonzero(np.isfinite(values) & (values != 0))
    signs = np.sign(values[known])
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    return [between(h, float(x[known[i]]), float(x[known[i + 1]])) for i in changes]


def between(h: Callable[[float], float], low: float, high: float) -> float:
    """The zero of h between two positive numbers at which its signs differ, to rounding: in log x, by interpolation
    with the retained end's value halved (Illinois), and by bisection where that is slow."""
    a, b = math.log(low), math.log(high)
    fa, fb = h(low), h(high)
    if fa == 0 or fb == 0:
        return low if fa == 0 else high
    side = 0
    for step in range(200):
        c = (a + b) / 2 if step % 3 == 2 else b - fb * (b - a) / (fb - fa)
        c = min(max(c, min(a, b)), max(a, b))
        fc = h(math.exp(c))
        if fc == 0 or abs(b - a) < 4e-16 * max(1.0, abs(c)):
            return math.exp(c)
        if (fc > 0) == (fb > 0):
            b, fb = c, fc
            fa, side = (fa / 2 if side == 1 else fa), 1
        else:
            a, fa = c, fc
            fb, side = (fb / 2 if side == -1 else fb), -1
    return math.exp((a + b) / 2)
