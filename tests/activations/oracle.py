"""Textbook formulas, written independently of the definitions, in enough digits that no cancellation in them is left.

A row is f alone: f′ and f″ follow from it by differences, from the left, as derivatives at kinks are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import mpmath
from mpmath import atan, erf, erfc, exp, log, mp, mpf, pi, sqrt, tanh

DIGITS = 800
FEW = 420
"""Enough where nothing cancels; erfc takes minutes in more."""
STEP = mpf(10) ** -40


class Case(NamedTuple):
    """An activation with these parameters, and its formula."""

    name: str
    formula: Callable
    parameters: Mapping[str, float] = MappingProxyType({})
    digits: int = DIGITS

    def __hash__(self) -> int:
        return id(self)

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
    return sqrt(2 / pi) * (x + mpf(0.044715) * x**3)


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
    Case("quick_gelu", lambda x: x * sigma(mpf(1.702) * x)),
    Case("gelu_10", lambda x: clip(gelu(x), -10, 10), digits=FEW),
    Case("mish", lambda x: x * tanh(log(1 + exp(x)))),
    Case("softplus", lambda x: log(1 + exp(x))),
    Case("softplus", lambda x: log(1 + exp(mpf(2.5) * x)) / mpf(2.5), {"beta": 2.5}),
    Case("logsigmoid", lambda x: log(sigma(x))),
    Case("hardsigmoid", lambda x: clip(x + 3, 0, 6) / 6),
    Case("hardswish", lambda x: x * clip(x + 3, 0, 6) / 6),
    Case("softsign", lambda x: x / (1 + abs(x))),
    Case("hardsigmoid_onnx", lambda x: clip(x / 5 + mpf("0.5"), 0, 1)),
    Case("hard_mish", lambda x: x * clip(x + 2, 0, 2) / 2),
    Case("sparse_sigmoid", lambda x: clip((x + 1) / 2, 0, 1)),
    Case("sparse_plus", lambda x: x if x > 1 else (clip(x, -1, 1) + 1) ** 2 / 4),
    Case("sqrtsoftplus", lambda x: sqrt(log(1 + exp(x)))),
    Case("squareplus", lambda x: (x + sqrt(x * x + 4)) / 2),
    Case("squareplus", lambda x: (x + sqrt(x * x + mpf(0.3))) / 2, {"b": 0.3}),
    Case("isru", lambda x: x / sqrt(1 + x * x)),
    Case("isru", lambda x: x / sqrt(1 + 3 * x * x), {"alpha": 3.0}),
    Case("isrlu", lambda x: x if x > 0 else x / sqrt(1 + x * x)),
    Case("sqnl", lambda x: clip(x, -2, 2) - clip(x, -2, 2) * abs(clip(x, -2, 2)) / 4),
    Case("bent_identity", lambda x: (sqrt(x * x + 1) - 1) / 2 + x),
    Case("weighted_tanh", tanh),
    Case("weighted_tanh", lambda x: mpf(0.5) * tanh(x * 3), {"weight": 3.0, "scale": 0.5}),
    Case("arctan", atan),
    Case("erf", erf, digits=FEW),
    Case("soft_clipping", lambda x: 2 * log((1 + exp(x / 2)) / (1 + exp((x - 1) / 2)))),
    Case("soft_clipping", lambda x: log((1 + exp(20 * x)) / (1 + exp(20 * (x - 1)))) / 20, {"alpha": 20.0}),
    Case("laplace", lambda x: erfc((mpf(0.707107) - x) / (mpf(0.282095) * sqrt(2))) / 2, digits=FEW),
    Case("exponential", exp),
    Case("soft_exponential", lambda x: 2 * (exp(x / 2) - 1) + mpf(0.5)),
    Case("soft_exponential", exp, {"alpha": 1.0}),
    Case("soft_exponential", lambda x: x, {"alpha": 0.0}),
    Case("e_swish", lambda x: mpf(1.375) * x * sigma(x)),
    Case("fts", lambda x: (x * sigma(x) if x > 0 else mpf(0)) - mpf(0.2)),
    Case("acon_c", lambda x: x * sigma(x)),
    Case("acon_c", lambda x: 2 * x * sigma(3 * 2 * x) - x / 2, {"p1": 1.5, "p2": -0.5, "beta": 3.0}),
    Case("aria2", lambda x: x * (1 + exp(-2 * x)) ** mpf(-1.5)),
    Case("softclamp_silu", lambda x: 4 * tanh(x / 4) * sigma(x)),
    Case("softclamp_gelu", lambda x: 4 * tanh(x / 4) * gelu(x) / x if x else mpf(0), digits=FEW),
    Case("elish", lambda x: x * sigma(x) if x > 0 else (exp(x) - 1) * sigma(x)),
    Case("hard_elish", lambda x: (x if x > 0 else exp(x) - 1) * clip((x + 1) / 2, 0, 1)),
    Case("xielu", lambda x: mpf(0.8) * (x**2 if x > 0 else exp(x) - 1 - x) + x / 2),
    Case("beta_mish", lambda x: x * tanh(log((1 + exp(x)) ** mpf(1.5)))),
    Case("mila", lambda x: x * tanh(log(1 + exp(x - mpf(0.25))))),
    Case("serf", lambda x: x * erf(log(1 + exp(x))), digits=FEW),
    Case("telu", lambda x: x * tanh(exp(min(x, mpf(9))))),
    Case("logish", lambda x: x * log(1 + sigma(x))),
    Case("smish", lambda x: x * tanh(log(1 + sigma(x)))),
    Case("gish", lambda x: x * log(2 - exp(-exp(min(x, mpf(9)))))),
)


class Known(NamedTuple):
    """f, f′ and f″ at one point."""

    f: mpf
    df: mpf
    d2f: mpf


@cache
def known(case: Case, x: float) -> Known:
    """The three at a float64, which mpf holds exactly."""
    with mp.workdps(case.digits):
        at, h = mpf(x), STEP
        near, middle, far = (case.formula(at - k * h) for k in (1, 2, 3))
        return Known(+mpmath.mpmathify(case.formula(at)), (near - middle) / h, (near - 2 * middle + far) / h**2)
