"""The truth of a definition: its own `f` in as many digits as it takes, and its derivatives from that alone.

`Digits` is one real number of arbitrary precision that goes wherever a tensor goes, so it is the rounding that is
judged here; `oracle.py` judges the formulas.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import mpmath
import torch
from mpmath import mp, mpf

from undertow.activations.arithmetic import Duck, Exact

STEP = 200
"""Derivatives are one-sided differences over 2^−200 of |x| (or of 1): that far are they off, and no further."""
AGREED = mpf(2) ** -90


class Digits(Duck):
    """One number (or truth value) of mpmath's working precision."""

    def __init__(self, value) -> None:
        self.value = value

    @property
    def plain(self) -> torch.Tensor:
        return torch.zeros((), dtype=torch.float64)

    def __and__(self, other):
        return Digits(self.value and _number(other))

    def __or__(self, other):
        return Digits(self.value or _number(other))

    def __invert__(self):
        return Digits(not self.value)

    __rand__, __ror__ = __and__, __or__


def _number(x):
    if isinstance(x, Digits):
        return x.value
    if isinstance(x, torch.Tensor):
        x = x.item()
    if isinstance(x, Exact):
        with mp.workprec(53 * 2 + 20):
            return _decimal(x)
    return x if isinstance(x, bool) else mpf(x)


def _decimal(x: Exact):
    # the irrational number itself, since working precision may be thousands of bits
    return mpf(float(x)) + mpf(x.lo)


def _clamp(x, min=None, max=None):
    x = x if min is None or x >= min else min  # a NaN compares as False and becomes the bound
    return x if max is None or x <= max else max


def _rule(function):
    return lambda *args, **kwargs: Digits(
        function(*map(_number, args), **{n: None if v is None else _number(v) for n, v in kwargs.items()})
    )


def _log1pexp(x):
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def _erfc(x):
    if abs(x) > 1e6:  # mpmath fails, and e^(−10¹²) is below any double
        return mpf(1 - mpmath.sign(x))
    return mpmath.erfc(x)


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


Digits.rules = {
    name: _rule(function)
    for name, function in {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "rsub": lambda a, b: b - a,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "rdiv": lambda a, b: b / a,
        "pow": lambda a, n: a**n,
        "neg": lambda a: -a,
        "abs": abs,
        "sign": mpmath.sign,
        "ceil": mpmath.ceil,
        "square": lambda a: a * a,
        "sqrt": mpmath.sqrt,
        "rsqrt": lambda a: 1 / mpmath.sqrt(a),
        "reciprocal": lambda a: 1 / a,
        "clone": lambda a: a,
        "exp": mpmath.exp,
        "expm1": mpmath.expm1,
        "log": mpmath.log,
        "log1p": mpmath.log1p,
        "sigmoid": _sigmoid,
        "tanh": mpmath.tanh,
        "sinh": mpmath.sinh,
        "cosh": mpmath.cosh,
        "asinh": mpmath.asinh,
        "sin": mpmath.sin,
        "cos": mpmath.cos,
        "atan": mpmath.atan,
        "erf": mpmath.erf,
        "erfc": _erfc,
        "softplus": lambda a, beta=1, threshold=20: _log1pexp(beta * a) / beta,
        "log_sigmoid": lambda a: -_log1pexp(-a),
        "relu": lambda a: max(a, mpf(0)),
        "where": lambda c, a, b: a if c else b,
        "clamp": _clamp,
        "clamp_min": _clamp,
        "clamp_max": lambda a, max: _clamp(a, None, max),
        "maximum": max,
        "minimum": min,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "logical_and": lambda a, b: a and b,
        "logical_or": lambda a, b: a or b,
        "logical_not": lambda a: not a,
        "isnan": mpmath.isnan,
        "isinf": mpmath.isinf,
        "zeros_like": lambda a: mpf(0),
        "ones_like": lambda a: mpf(1),
        "full_like": lambda a, fill_value: fill_value,
    }.items()
}


class Truth(NamedTuple):
    """f, f′ and f″ at one x, at a kink the derivatives from the left."""

    f: mpf
    df: mpf
    d2f: mpf


def truths(act, x: float) -> Truth:
    """The three of a pointwise definition at a finite float64, in 60 digits or more."""
    exponent = math.frexp(x)[1]
    bits = 800 + max(-4 * exponent, exponent)  # x + x³ needs twice the digits of a small x, x² as much again
    before = _at(act, x, bits)
    while bits < 40_000:
        bits *= 2
        now = _at(act, x, bits)
        if all(_agree(a, b) for a, b in zip(before, now, strict=True)):
            return now
        before = now
    raise AssertionError(f"{act.label} at {x!r} has no settled truth: does its f have a jump there?")


def truth(act, order: int, x: float) -> mpf:
    """f⁽ᵒʳᵈᵉʳ⁾(x)."""
    return truths(act, x)[order]


def _agree(a, b) -> bool:
    return abs(a - b) <= AGREED * abs(b) or max(abs(a), abs(b)) < mpf(2) ** -1100


def _at(act, x: float, bits: int) -> Truth:
    with mp.workprec(bits):
        h = mpf(2) ** -STEP * (min(abs(mpf(x)), 1) if x else mpf(2) ** -1100)
        # only points to the left, as f may jump at x
        one, two, three, four = (_number(act.f(Digits(mpf(x) - k * h))) for k in (1, 2, 3, 4))
        f = _number(act.f(Digits(mpf(x))))
        df, d2f, d3f = (one - two) / h, (one - 2 * two + three) / h**2, (one - 3 * two + 3 * three - four) / h**3
        return Truth(f, _beyond(df, d2f * h), _beyond(d2f, d3f * h))


def _beyond(derivative, error):
    """0 for a derivative that is no more than the error of its difference quotient."""
    return derivative if abs(derivative) > 8 * abs(error) else mpf(0)


def ulp(true, dtype: torch.dtype) -> float | mpf:
    """The spacing of the dtype's numbers at this size, subnormal ones too."""
    info = torch.finfo(dtype)
    exponent = mpmath.frexp(true)[1] - 1 if true else -(10**6)
    lowest = math.frexp(info.tiny)[1] - 1
    return mpf(2) ** max(exponent, lowest) * mpf(info.eps)


def ulps(got: float, true, dtype: torch.dtype, scale=None) -> float:
    """|got − true| in units of the last place at the true value; 0 for the right infinity.

    `scale`: near a zero of f′ or f″, the size of the function around it, whose ulp takes the place of the value's.
    """
    if math.isnan(got):
        return 0.0 if mpmath.isnan(true) else math.inf
    largest = torch.finfo(dtype).max
    if math.isinf(got) or abs(true) > largest:
        beyond = abs(true) >= largest * (1 + mpf(torch.finfo(dtype).eps) / 4)
        same_side = (got > 0) == (true > 0)
        return 0.0 if same_side and beyond and abs(got) >= largest else math.inf
    return float(abs(mpf(got) - true) / ulp(true if scale is None else max(abs(true), scale), dtype))
