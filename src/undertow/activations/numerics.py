"""Building blocks that are right in the tails, where the textbook formula cancels, underflows or gives inf · 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# 1 + e^-80 rounds to 1 even in 106 bits, and e^-80 is still a normal number in float32
TAIL = -80.0
# x² is still finite in float32, and x² + b is x² in 106 bits for b up to 1000
FAR = 1e18


def finite(x: Tensor) -> Tensor:
    """x, with the largest finite number in the place of ∞."""
    largest = torch.finfo(x.dtype).max
    return x.clamp(-largest, largest)


def gated(x: Tensor, gate: Tensor, top: float = 1.0) -> Tensor:
    """x · gate for a gate from 0 to `top`: at an infinite x it is 0 or top · x, as the gate says, and not NaN."""
    return torch.where(x.isinf() & (gate > top / 2), x * top, finite(x) * gate)


def sigmoid_times(t: Tensor, c: Tensor) -> Tensor:
    """σ(t) · c, right where σ(t) alone is subnormal or 0, and 0 at t = −∞ for any c."""
    return with_tail(t, c, gated(c, torch.sigmoid(t)))


def with_tail(t: Tensor, c: Tensor, product: Tensor) -> Tensor:
    """The product of c and a gate that is e^t from t = −80 on down, right where the gate alone is subnormal or 0."""
    half = torch.exp(t.clamp(max=TAIL) / 2)  # exact halving; the square of e^(t/2) has no subnormal step
    return torch.where(t < TAIL, finite(c) * half * half, product)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x); torch's is x itself from 20 on, 1e-10 off."""
    return F.softplus(x, 1.0, 40.0)


def excess(x: Tensor, b: float | Tensor) -> Tensor:
    """√(x² + b) − |x|, where neither the difference cancels nor the square overflows."""
    size = x.abs()
    root = torch.where(size > FAR, size, torch.sqrt(size.clamp(max=FAR).square() + b))
    return (b / 2) / (size / 2 + root / 2)


def step(x: Tensor) -> Tensor:
    """1 for x > 0, 0 for x ≤ 0; NaN passes."""
    return x.clamp(0.0, 1.0).ceil()


def between(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """1 for low < x ≤ high, 0 outside; NaN passes."""
    return step(x - low) - step(x - high)


def zero(x: Tensor) -> Tensor:
    """0 everywhere; NaN passes."""
    return x.clamp(0.0, 0.0).ceil()  # clamp alone has the derivative 1 at 0
