"""Exponentials and logarithms of `Twofold`, to 80 bits or more."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import LN_2
from undertow.activations.arithmetic.parts import plus
from undertow.activations.arithmetic.tables import EXP_STEPS, exp_table
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

DEEP, LIFT = -800, 512
"""A power of two below 2^DEEP is kept 2^LIFT times as large, with a tail: its lo part would not be a normal number."""


class Reduced(NamedTuple):
    """e^x = 2^exponent · power · (1 + rest)."""

    exponent: Tensor
    power: Twofold
    rest: Twofold
    steps: Tensor
    """0 where e^x is 1 + rest."""


def _reduced(a: Twofold) -> Reduced:
    a = a.settled()
    table = exp_table()
    x = a.hi.clamp(-1200.0, 1200.0)  # e^±1200 is 0 or ∞ even after lifting
    n = torch.nan_to_num(torch.round(x * (EXP_STEPS / math.log(2))))
    first, second, third = table.step
    r, e = two_sum(x - n * first, -n * second)
    rest = a.lo if isinstance(a.lo, float) else torch.where(x == a.hi, a.lo, 0.0)
    r = normal(r, plus(e - n * third, rest))
    whole = n.to(torch.int64)
    return Reduced(whole >> 11, at(table.powers, whole & (EXP_STEPS - 1)), _series(r), whole)


def _series(r: Twofold) -> Twofold:
    """e^r − 1 for |r| ≤ 1.7e-4."""
    t = r.hi
    high = polynomial(t, (1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040)) * t * t * t
    half = square(r)
    s, e = two_sum(t, half.hi / 2)
    return normal(s, e + (r.lo + half.lo / 2 + high))


def _scaled(a: Twofold, exponent: Tensor) -> Twofold:
    """a · 2^exponent, by two factors, as one alone may be out of range."""
    tail, deep = None, exponent < DEEP
    if deep.any():
        tail = torch.where(deep, torch.tensor(2.0**-LIFT, dtype=torch.float64), 1.0)
        exponent = exponent + LIFT * deep
    half = exponent >> 1
    one, other = _power_of_two(half), _power_of_two(exponent - half)
    return Twofold(a.hi * one * other, a.lo * one * other, tail)


def _power_of_two(exponent: Tensor) -> Tensor:
    return ((exponent + 1023) << 52).view(torch.float64)


def exp(a: Twofold) -> Twofold:
    r = _reduced(a)
    return _scaled(add(r.power, mul(r.power, r.rest)), r.exponent)


def expm1(a: Twofold) -> Twofold:
    r = _reduced(a)
    full = _scaled(add(r.power, mul(r.power, r.rest)), r.exponent)
    return where(r.steps == 0, _kept_tail(a, r.rest), sub(full, 1.0))


def _kept_tail(a: Twofold, y: Twofold) -> Twofold:
    """y, or a itself where it has a tail: for functions with f(x) = x + O(x²)."""
    return y if a.tail is None else where(a.tail < 1, a, y)


def log1p(a: Twofold) -> Twofold:
    """One Newton step from float64: y + (1 + x − e^y) / e^y."""
    x = a.settled()
    # at 0, ∞ and −1 the start is the answer
    y = torch.log1p(x.hi)
    e = expm1(Twofold(y.clamp(max=709.0)))
    step = div(sub(x, e), add(e, 1.0))
    return _kept_tail(a, _stepped(y, step, x.hi < 8e307))


def _stepped(y: Tensor, step: Twofold, safe: Tensor) -> Twofold:
    """y + step; y alone where the step has overflowed."""
    usable = safe & step.hi.isfinite()
    return normal(y, torch.where(usable, step.hi, 0.0))


def log(a: Twofold) -> Twofold:
    a = a.settled()
    mantissa, exponent = torch.frexp(a.hi)
    exponent = (exponent - (mantissa < math.sqrt(0.5)).to(exponent.dtype)).to(torch.int64)
    usable = (a.hi > 0) & a.hi.isfinite()
    k = torch.where(usable, exponent, 0)
    half = k >> 1
    one, other = _power_of_two(-half), _power_of_two(half - k)
    scaled = Twofold(a.hi * one * other, a.lo * one * other)
    y = add(log1p(sub(scaled, 1.0)), mul(LN_2, k.to(torch.float64)))
    return where(usable, y, Twofold(a.hi.log()))


def sigmoid(a: Twofold) -> Twofold:
    z = exp(-absolute(a))
    upper = div(1.0, add(z, 1.0))
    return where(a.hi < 0, mul(z, upper), upper)


def tanh(a: Twofold) -> Twofold:
    e = expm1(-2.0 * absolute(a))
    y = div(-e, add(e, 2.0))
    return where(a.hi < 0, -y, y)


def softplus(a: Twofold, beta: float = 1.0, threshold: float = 20.0) -> Twofold:
    if beta != 1:
        scaled = mul(a, beta)
        return where(scaled.hi > 100.0, a, div(softplus(scaled), beta))  # e^−100 is below 106 bits
    y = log1p(exp(-absolute(a)))
    return where(a.hi > 0, add(a, y), y)  # and not y + 0, which has no tail


def log_sigmoid(a: Twofold) -> Twofold:
    return -softplus(-a)


def sinh(a: Twofold) -> Twofold:
    size = absolute(a)
    e = expm1(size)
    near = (e + div(e, add(e, 1.0))) / 2.0
    y = where(a.hi.abs() > 40.0, exp(size - LN_2), near)
    return where(a.hi < 0, -y, y)


def cosh(a: Twofold) -> Twofold:
    half = exp(absolute(a) - LN_2)
    return add(half, div(0.25, half))


def asinh(a: Twofold) -> Twofold:
    size = absolute(a).settled()
    x = size.clamp_max(1e20)
    near = log1p(add(x, div(square(x), add((square(x) + 1.0).sqrt(), 1.0))))
    y = where(size.hi > 1e20, log(size) + LN_2, near)
    return where(a.hi < 0, -y, y)


Twofold.rules |= {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "log_sigmoid": log_sigmoid,
    "sinh": sinh,
    "cosh": cosh,
    "asinh": asinh,
}
