"""g, g′ and g″ of each function in the vocabulary of a definition, written so that none of them cancels in the tails.

torch's own backward of tanh is 1 − y², which is 0 from x = 9.01 in float32 where tanh′ is still 6e-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from undertow.activations.arithmetic.constants import TWO_OVER_SQRT_PI
from undertow.activations.arithmetic.parts import Part, chosen


class Link(NamedTuple):
    """y = g(v), d = g1(v, y), g″ = g2(v, y, d)."""

    g: Callable[[Any], Any]
    g1: Callable[[Any, Any], Part]
    g2: Callable[[Any, Any, Part], Part]


BEYOND = 40.0
"""e^(−v²) is 0 in every dtype from here on."""
LARGE = 1e17
"""1 + v² is v² to 106 bits from here on."""


def _constant(c: float) -> Callable[..., Part]:
    return lambda *_: c


def softplus(v: Any) -> Any:
    """ln(1 + e^v); torch's is v itself from 20 on."""
    return v.clamp_min(0.0) + torch.log1p(torch.exp(-v.abs()))


def _bump(v: Any) -> Any:
    return torch.sigmoid(v) * torch.sigmoid(-v)


def _gauss(v: Any) -> Any:
    return TWO_OVER_SQRT_PI * torch.exp(-v.clamp(-BEYOND, BEYOND).square())


def _finite(v: Any) -> Any:
    largest = torch.finfo(v.dtype).max
    return v.clamp(-largest, largest)


def _over_hypot(v: Any) -> Any:
    """1/√(1 + v²), also where v² overflows."""
    size = v.abs()
    far = size.clamp_min(1.0).reciprocal()
    return torch.where(size > LARGE, far, torch.rsqrt(1.0 + size.clamp_max(LARGE).square()))


LINKS = {
    "abs": Link(torch.abs, lambda v, y: chosen(v > 0, 1.0, -1.0, v), _constant(0.0)),
    "relu": Link(lambda v: v.clamp_min(0.0), lambda v, y: chosen(v > 0, 1.0, 0.0, v), _constant(0.0)),
    "sign": Link(torch.sign, _constant(0.0), _constant(0.0)),
    "ceil": Link(torch.ceil, _constant(0.0), _constant(0.0)),
    "neg": Link(torch.neg, _constant(-1.0), _constant(0.0)),
    "square": Link(torch.square, lambda v, y: 2.0 * v, _constant(2.0)),
    "sqrt": Link(torch.sqrt, lambda v, y: 0.5 / y, lambda v, y, d: -0.5 * d / v),
    "rsqrt": Link(torch.rsqrt, lambda v, y: -0.5 * y / v, lambda v, y, d: -1.5 * d / v),
    "reciprocal": Link(torch.reciprocal, lambda v, y: -y.square(), lambda v, y, d: -2.0 * y * d),
    "exp": Link(torch.exp, lambda v, y: y, lambda v, y, d: d),
    "expm1": Link(torch.expm1, lambda v, y: torch.exp(v), lambda v, y, d: d),
    "log": Link(torch.log, lambda v, y: v.reciprocal(), lambda v, y, d: -d.square()),
    "log1p": Link(torch.log1p, lambda v, y: (1.0 + v).reciprocal(), lambda v, y, d: -d.square()),
    "sigmoid": Link(torch.sigmoid, lambda v, y: y * torch.sigmoid(-v), lambda v, y, d: -torch.tanh(0.5 * v) * d),
    "tanh": Link(torch.tanh, lambda v, y: 4.0 * _bump(2.0 * v), lambda v, y, d: -2.0 * y * d),
    "softplus": Link(softplus, lambda v, y: torch.sigmoid(v), lambda v, y, d: d * torch.sigmoid(-v)),
    "log_sigmoid": Link(F.logsigmoid, lambda v, y: torch.sigmoid(-v), lambda v, y, d: -d * torch.sigmoid(v)),
    "sinh": Link(torch.sinh, lambda v, y: torch.cosh(v), lambda v, y, d: y),
    "cosh": Link(torch.cosh, lambda v, y: torch.sinh(v), lambda v, y, d: y),
    "asinh": Link(torch.asinh, lambda v, y: _over_hypot(v), lambda v, y, d: -(_finite(v) * d) * d.square()),
    "erf": Link(torch.erf, lambda v, y: _gauss(v), lambda v, y, d: -2.0 * v.clamp(-BEYOND, BEYOND) * d),
    "erfc": Link(torch.erfc, lambda v, y: -_gauss(v), lambda v, y, d: -2.0 * v.clamp(-BEYOND, BEYOND) * d),
    "sin": Link(torch.sin, lambda v, y: torch.cos(v), lambda v, y, d: -y),
    "cos": Link(torch.cos, lambda v, y: -torch.sin(v), lambda v, y, d: -y),
    "atan": Link(torch.atan, lambda v, y: (1.0 + v.square()).reciprocal(), lambda v, y, d: -2.0 * (_finite(v) * d) * d),
}


def power(n: float) -> Link:
    """v^n for a number n."""
    return Link(lambda v: v**n, lambda v, y: n * v ** (n - 1), lambda v, y, d: n * (n - 1) * v ** (n - 2))
