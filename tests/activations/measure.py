"""Errors in ulp of many values at once, against a reference of 106 bits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from undertow.activations import Pointwise
from undertow.activations.arithmetic import Twofold

SIGNIFICAND = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8, torch.float16: 11}
NEAR = 1 / 4
"""A zero of f′ is near where the Newton step to it is at most this share of x."""


class Reference(NamedTuple):
    """f, f′ or f″ as hi + lo in float64, and the size of the function around it."""

    hi: Tensor
    lo: Tensor
    scale: Tensor


def reference(act: Pointwise, order: int, x: Tensor) -> Reference:
    """At float64 points.  The scale is 0 but near a zero of f′, where it is |x f″(x)|."""
    here = _wide(act, order, x)
    return Reference(*here, _scale(act, x, here[0]) if order == 1 else torch.zeros_like(x))


def _scale(act: Pointwise, x: Tensor, slope: Tensor) -> Tensor:
    bend = _wide(act, 2, x)[0]
    step = slope / bend
    close = step.abs() <= NEAR * x.abs()
    # only where f′ does change its sign: in a tail f″ is large beside f′ too
    beyond = _wide(act, 1, torch.where(close, x - 2 * step, x))[0]
    return torch.where(close & (beyond * slope <= 0), (x * bend).abs(), 0.0)


def _wide(act: Pointwise, order: int, x: Tensor) -> tuple[Tensor, Tensor]:
    parts = []
    for piece in x.split(1 << 15):
        y = (act.f, act.df, act.d2f)[order](Twofold(piece))
        if isinstance(y, Tensor):
            y = Twofold(y)
        y = y.settled()
        hi, lo = (torch.as_tensor(p, dtype=torch.float64).expand_as(piece) for p in (y.hi, y.lo))
        parts.append((hi, torch.nan_to_num(lo)))
    return torch.cat([hi for hi, _ in parts]), torch.cat([lo for _, lo in parts])


def in_ulps(got: Tensor, true: Reference, strict: bool = False) -> Tensor:
    """|got − true| in ulp of the true value in the dtype of got, or of its scale; ∞ for a wrong NaN or infinity.

    Below the normal numbers an ulp is the step between subnormal ones.
    """
    bits, info = SIGNIFICAND[got.dtype], torch.finfo(got.dtype)
    size = true.hi.abs() if strict else torch.maximum(true.hi.abs(), true.scale)
    lowest = int(torch.frexp(torch.tensor(info.tiny, dtype=torch.float64)).exponent)
    exponent = torch.frexp(size).exponent.clamp(min=lowest)
    # 2^−exponent is out of float64's range for its own numbers: half of it at a time
    half = exponent // 2
    y = got.double()
    error = ((y - true.hi) - true.lo).abs()
    ulps = torch.ldexp(torch.ldexp(error, -half), bits - exponent + half)
    rounds_to_infinity = true.hi.abs() >= info.max * (1 + info.eps / 4)
    ulps = torch.where(ulps.isnan() | ulps.isinf(), torch.inf, ulps)
    ulps = torch.where(rounds_to_infinity & (y == true.hi.sign() * torch.inf), 0.0, ulps)
    return torch.where(true.hi.isnan(), torch.where(y.isnan(), 0.0, torch.inf), ulps)


def patterns(dtype: torch.dtype, stride: int) -> Tensor:
    """Every stride-th finite number of a dtype by bit pattern, both signs."""
    bits = dtype.itemsize * 8
    whole = {16: torch.int16, 32: torch.int32, 64: torch.int64}[bits]
    x = torch.arange(-(1 << (bits - 1)), 1 << (bits - 1), stride, dtype=torch.int64).to(whole).view(dtype)
    return x[x.isfinite()]
