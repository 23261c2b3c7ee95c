"""Elementwise functions of contiguous memory by compiled kernels: value, slope, both, and the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.native import kernels


def available() -> bool:
    """Whether this build has the loops over elements."""
    return hasattr(kernels.module, "pointwise")


def has(name: str, order: int, dtype: torch.dtype) -> bool:
    """Whether a kernel of this name computes f (order 0) or f′ (order 1) in this dtype."""
    return False
