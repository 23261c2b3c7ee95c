"""sin, cos and atan of `Twofold`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import PI
from undertow.activations.arithmetic.parts import plus
from undertow.activations.arithmetic.tables import TURN, TURN_BITS, circle_table, turn_in_bits
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
"""Further out the multiple of 2π / TURN is found in whole numbers of Python, one element after the other."""
MINUS_SIXTH = Twofold(-1 / 6, -1 / 6 * 2.0**-54)
"""−1/6 to 106 bits: its binary digits repeat by twos."""


def _circle(a: Twofold) -> tuple[Twofold, Twofold]:
    """sin and cos, by the nearest of the tabulated points."""
    table = circle_table()
    a = a.settled()
    far = a.hi.isfinite() & (a.hi.abs() > LAST)
    x = torch.where(a.hi.abs() <= LAST, a.hi, a.hi - a.hi)  # an infinity becomes NaN
    n = torch.nan_to_num(torch.round(x * (TURN / (2 * math.pi))))
    first, second, third, fourth = table.step
    r, e = two_sum(x - n * first, -n * second)
    r, f = two_sum(r, -n * third)
    r = normal(r, plus(e + f - n * fourth, a.lo))
    j = n.to(torch.int64) & (TURN - 1)
    if far.any():
        r, j = _far(a, far, r, j)
    sin_n, cos_n = at(table.sin, j), at(table.cos, j)
    t = square(r)
    cubic = add(MINUS_SIXTH, polynomial(t.hi, (1 / 120, -1 / 5040, 1 / 362880)) * t.hi)
    sin_r = add(r, mul(mul(t, r), cubic))
    cos_r = add(mul(-0.5, t), polynomial(t.hi, (1 / 24, -1 / 720, 1 / 40320, -1 / 3628800)) * t.hi.square())  # less 1
    sin = add(sin_n, add(mul(sin_n, cos_r), mul(cos_n, sin_r)))
    cos = add(cos_n, sub(mul(cos_n, cos_r), mul(sin_n, sin_r)))
    return sin, cos


def _far(a: Twofold, far: Tensor, r: Twofold, j: Tensor) -> tuple[Twofold, Tensor]:
    """r and j with those of the far elements, reduced exactly."""
    rest = torch.as_tensor(a.lo, dtype=torch.float64).expand_as(a.hi)
    rows = [_reduced(*pair) for pair in zip(a.hi[far].tolist(), rest[far].tolist(), strict=True)]
    steps, hi, lo = zip(*rows, strict=True)
    new = Twofold(torch.tensor(hi, dtype=torch.float64), torch.tensor(lo, dtype=torch.float64))
    old = torch.as_tensor(r.lo, dtype=torch.float64)
    merged = Twofold(r.hi.masked_scatter(far, new.hi), old.masked_scatter(far, torch.as_tensor(new.lo)))
    return merged, j.masked_scatter(far, torch.tensor(steps))


def _reduced(hi: float, lo: float) -> tuple[int, float, float]:
    """The number of steps of 2π / TURN in hi + lo, in turns, and what is left as a double-double."""
    step = turn_in_bits() // TURN
    x = sum((n << TURN_BITS) // d for n, d in (hi.as_integer_ratio(), lo.as_integer_ratio()))
    count = (2 * x + step) // (2 * step)
    left = x - count * step
    top = left / (1 << TURN_BITS)
    numerator, denominator = top.as_integer_ratio()
    return count % TURN, top, (left - (numerator << TURN_BITS) // denominator) / (1 << TURN_BITS)


def sin(a: Twofold) -> Twofold:
    return _circle(a)[0]


def cos(a: Twofold) -> Twofold:
    return _circle(a)[1]


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
