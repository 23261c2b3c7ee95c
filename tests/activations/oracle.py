"""Textbook formulas, written independently of the definitions, in enough digits that no cancellation in them is left.

A row is f alone: f′ and f″ follow from it by differences, from the left, as derivatives at kinks are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import mpmath
from mpmath import erfc, exp, log, mp, mpf, pi, sqrt, tanh

DIGITS = 1050
FEW = 400
"""Enough where nothing cancels; erfc takes minutes in more."""
STEP = mpf(10) ** -150


class Case(NamedTuple):
    """An activation with these parameters, and its formula."""

    name: str
    formula: Callable
    parameters: Mapping[str, float] = MappingProxyType({})
    digits: int = DIGITS

    def __str__(self) -> str:
        return f"{self.name}{dict(self.parameters) or ''}"


def sigma(t):
    return 1 / (1 + exp(-t))


def clip(x, low, high):
    return min(max(x, mpf(low)), mpf(high))


def swish(beta: float) -> Case:
    return Case("swish", lambda x: x * sigma(mpf(beta) * x), {"beta": beta})


def elu(alpha: float) -> Case:
    return Case("elu", lambda x: x if x > 0 else mpf(alpha) * (exp(x) - 1), {"alpha": alpha})


def gelu(x):
    return x * erfc(-x / sqrt(2)) / 2


def cubic(x):
    return sqrt(2 / pi) * (x + mpf("0.044715") * x**3)


SELU_ALPHA, SELU_SCALE = mpf("1.6732632423543772848170429916717"), mpf("1.0507009873554804934193349852946")
ORACLE = (
    Case("sigmoid", sigma),
    Case("tanh", lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x))),
    Case("identity", lambda x: x),
    Case("relu", lambda x: max(x, mpf(0))),
    Case("leaky_relu", lambda x: max(x, x * mpf(0.01))),
    Case("leaky_relu", lambda x: max(x, x * mpf(0.3)), {"slope": 0.3}),
    Case("prelu", lambda x: max(x, x / 4)),
    elu(1.0),
    elu(2.0),
    Case("selu", lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * (exp(x) - 1))),
    Case("celu", lambda x: max(x, mpf(0)) + min(mpf(0), exp(x) - 1)),
    Case("celu", lambda x: max(x, mpf(0)) + min(mpf(0), (exp(x / mpf(0.3)) - 1) * mpf(0.3)), {"alpha": 0.3}),
    swish(1.0),
    swish(1.5),
    swish(-0.75),
    swish(0.0),
    Case("gelu", gelu, digits=FEW),
    Case("gelu_tanh", lambda x: x / 2 * (1 + tanh(cubic(x)))),
    Case("quick_gelu", lambda x: x * sigma(mpf("1.702") * x)),
    Case("gelu_10", lambda x: clip(gelu(x), -10, 10), digits=FEW),
    Case("mish", lambda x: x * tanh(log(1 + exp(x)))),
    Case("softplus", lambda x: log(1 + exp(x))),
    Case("softplus", lambda x: log(1 + exp(mpf(2.5) * x)) / mpf(2.5), {"beta": 2.5}),
    Case("logsigmoid", lambda x: log(sigma(x))),
    Case("hardsigmoid", lambda x: clip(x + 3, 0, 6) / 6),
    Case("hardswish", lambda x: x * clip(x + 3, 0, 6) / 6),
    Case("softsign", lambda x: x / (1 + abs(x))),
)


class Known(NamedTuple):
    """f, f′ and f″ at one point."""

    f: mpf
    df: mpf
    d2f: mpf


def known(case: Case, x: float) -> Known:
    """The three at a float64, which mpf holds exactly."""
    with mp.workdps(case.digits):
        at, h = mpf(x), STEP
        near, middle, far = (case.formula(at - k * h) for k in (1, 2, 3))
        return Known(+mpmath.mpmathify(case.formula(at)), (near - middle) / h, (near - 2 * middle + far) / h**2)
