"""sin, cos and atan of `Twofold`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import PI
from undertow.activations.arithmetic.parts import plus
from undertow.activations.arithmetic.tables import TURN, circle_table
from undertow.activations.arithmetic.twofold import (
    Twofold,
    absolute,
    add,
    at,
    div,
    mul,
    normal,
    polynomial,
    square,
    sub,
    two_sum,
    where,
)

LAST = 1e5
"""Further out sin and cos are torch's, of float64."""
MINUS_SIXTH = Twofold(-1 / 6, -1 / 6 * 2.0**-54)
"""−1/6 to 106 bits: its binary digits repeat by twos."""


def _circle(a: Twofold) -> tuple[Twofold, Twofold]:
    """sin and cos, by the nearest of the tabulated points."""
    table = circle_table()
    x = a.hi.clamp(-LAST, LAST)
    n = torch.nan_to_num(torch.round(x * (TURN / (2 * math.pi))))
    first, second, third, fourth = table.step
    r, e = two_sum(x - n * first, -n * second)
    r, f = two_sum(r, -n * third)
    r = normal(r, plus(e + f - n * fourth, a.lo))
    j = n.to(torch.int64) & (TURN - 1)
    sin_n, cos_n = at(table.sin, j), at(table.cos, j)
    t = square(r)
    cubic = add(MINUS_SIXTH, polynomial(t.hi, (1 / 120, -1 / 5040, 1 / 362880)) * t.hi)
    sin_r = add(r, mul(mul(t, r), cubic))
    cos_r = add(mul(-0.5, t), polynomial(t.hi, (1 / 24, -1 / 720, 1 / 40320, -1 / 3628800)) * t.hi.square())  # less 1
    sin = add(sin_n, add(mul(sin_n, cos_r), mul(cos_n, sin_r)))
    cos = add(cos_n, sub(mul(cos_n, cos_r), mul(sin_n, sin_r)))
    return sin, cos


def sin(a: Twofold) -> Twofold:
    a = a.settled()
    return where(a.hi.abs() <= LAST, _circle(a)[0], Twofold(a.hi.sin()))


def cos(a: Twofold) -> Twofold:
    a = a.settled()
    return where(a.hi.abs() <= LAST, _circle(a)[1], Twofold(a.hi.cos()))


def atan(a: Twofold) -> Twofold:
    """One Newton step from float64 on [0, 1]; beyond it π/2 − atan(1/x)."""
    size = absolute(a.settled())
    far = size.hi > 1.0
    x = where(far, div(1.0, size), size)
    start: Tensor = x.hi.atan()
    sine, cosine = _circle(Twofold(start))
    y = add(start, div(sub(mul(x, cosine), sine), add(cosine, mul(x, sine))))
    y = where(far, sub(mul(0.5, PI), y), y)
    return where(a.hi < 0, -y, y)


Twofold.rules |= {"sin": sin, "cos": cos, "atan": atan}
