"""Building blocks that are right in the tails, where the textbook formula cancels, underflows or gives inf · 0."""

from __future__ import annotations

import torch
from torch import Tensor

# 1 + e^-80 rounds to 1 in float64, and e^-80 is still a normal number in float32
TAIL = -80.0


def sech(x: Tensor) -> Tensor:
    """1 / cosh x, for use as sech x · sech x: the square underflows to 0 only where the true value does."""
    # the largest argument whose cosh and sinh are finite: ln(2 · 3.4e38) = 89.4, ln(2 · 1.8e308) = 710.5
    limit = 88.0 if x.dtype == torch.float32 else 709.0
    return torch.cosh(x.clamp(-limit, limit)).reciprocal()


def sigmoid_times(t: Tensor, c: Tensor) -> Tensor:
    """σ(t) · c, right where σ(t) alone is subnormal or 0, and 0 at t = −∞ for any c."""
    half = torch.exp(t.clamp(max=0.0) / 2)  # exact halving; the square of e^(t/2) has no subnormal step
    finite = torch.finfo(c.dtype)
    tail = c.clamp(finite.min, finite.max) * half * half
    return torch.where(t < TAIL, tail, c * torch.sigmoid(t))


def step(x: Tensor) -> Tensor:
    """1 for x > 0, 0 for x ≤ 0; NaN passes."""
    return x.clamp(0.0, 1.0).ceil()


def zero(x: Tensor) -> Tensor:
    """0 everywhere; NaN passes."""
    return x.clamp(0.0, 0.0).ceil()  # clamp alone has the derivative 1 at 0
