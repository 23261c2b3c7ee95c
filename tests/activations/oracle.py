"""The textbook formulas in 800 digits: enough that no cancellation in them is left, even at e^−700.

A new pointwise activation needs its row here; `test_catalogue` fails while it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mpmath
from mpmath import mp, mpf

DIGITS = 800


class Formulas(NamedTuple):
    """f, f′ and f″; a kink takes the formula of its left side."""

    f: Callable
    df: Callable
    d2f: Callable
    slack: Callable = lambda x: (0, 0, 0)
    """What one rounding inside costs f, f′ and f″ beyond 3 ulp, in units of eps: βx, and the zeros of Swish′ and ″."""


def _sigma(t):
    return 1 / (1 + mpmath.exp(-t))


def _swish(beta: float) -> Formulas:
    b = mpf(beta)

    def d2f(x):
        s = _sigma(b * x)
        return b * s * (1 - s) * (2 + b * x * (1 - 2 * s))

    def df(x):
        return _sigma(b * x) * (1 + b * x * (1 - _sigma(b * x)))

    def slack(x):
        t, s = abs(b * x), _sigma(b * x)
        rounded = 0 if beta == 1 else t
        second = abs(b) * s * (1 - s) * (4 + t * (1 + rounded))
        return rounded * abs(x * s), rounded * abs(df(x)) + (2 + rounded) * s, rounded * abs(d2f(x)) + second

    return Formulas(lambda x: x * _sigma(b * x), df, d2f, slack)


def _sloped(slope: float) -> Formulas:
    a = mpf(slope)
    return Formulas(lambda x: x if x > 0 else a * x, lambda x: mpf(1) if x > 0 else a, lambda x: mpf(0))


def _elu(alpha: float) -> Formulas:
    a = mpf(alpha)
    return Formulas(
        lambda x: x if x > 0 else a * (mpmath.exp(x) - 1),
        lambda x: mpf(1) if x > 0 else a * mpmath.exp(x),
        lambda x: mpf(0) if x > 0 else a * mpmath.exp(x),
    )


# name and parameters → formulas
ORACLE: dict[tuple[str, tuple[tuple[str, float], ...]], Formulas] = {
    ("sigmoid", ()): Formulas(
        _sigma, lambda x: _sigma(x) * (1 - _sigma(x)), lambda x: _sigma(x) * (1 - _sigma(x)) * (1 - 2 * _sigma(x))
    ),
    ("tanh", ()): Formulas(
        mpmath.tanh, lambda x: 1 - mpmath.tanh(x) ** 2, lambda x: -2 * mpmath.tanh(x) * (1 - mpmath.tanh(x) ** 2)
    ),
    ("identity", ()): Formulas(lambda x: x, lambda x: mpf(1), lambda x: mpf(0)),
    ("relu", ()): _sloped(0.0),
    ("leaky_relu", ()): _sloped(0.01),
    ("leaky_relu", (("slope", 0.3),)): _sloped(0.3),
    ("prelu", ()): _sloped(0.25),
    ("elu", ()): _elu(1.0),
    ("elu", (("alpha", 2.0),)): _elu(2.0),
    ("swish", ()): _swish(1.0),
    ("swish", (("beta", 1.5),)): _swish(1.5),
    ("swish", (("beta", -0.75),)): _swish(-0.75),
    ("swish", (("beta", 0.0),)): Formulas(lambda x: x / 2, lambda x: mpf(1) / 2, lambda x: mpf(0)),
}


def exact(function: Callable, points: list[float]) -> list:
    """The function at float64 points, which mpf holds exactly."""
    with mp.workdps(DIGITS):
        return [function(mpf(x)) for x in points]
