"""Statistics of an activation's derivative over the inputs that it received."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from undertow.native import pointwise


class SlopeStatistics(NamedTuple):
    """What `slope_statistics` and `statistics_of_slopes` return."""

    count: int  # pyright: ignore[reportIncompatibleMethodOverride]: a field, not tuple's method
    mean: float
    rms: float
    flat: int
    """Values with |f′| below the threshold."""
    dead: int
    """Units whose f′ is exactly 0 for every sample."""
    alive: Tensor
    """Per unit, whether f′ differs from 0 for any sample: bool, on the CPU for tensors of the CPU."""


def takes(name: str, x: Tensor) -> bool:
    """Whether `slope_statistics` has a kernel for the named function on this tensor."""
    return x.is_cpu and pointwise.has(name, 1, x.dtype)


def slope_statistics(
    name: str, parameters: tuple[float, ...], x: Tensor, flat: float, channels_first: bool = False
) -> SlopeStatistics:
    """mean f′(x), rms f′(x), the number of |f′(x)| < flat, and which units have any f′(x) ≠ 0, in one pass over x.

    Parameters
    ----------
    name, parameters:
        As of `native.pointwise`; ask `takes` first.
    x:
        The inputs: float32 or float64 on the CPU, any shape and layout.
    flat:
        The threshold, rounded to the dtype of x before it is compared.  0 counts none.
    channels_first:
        Whether units lie along the second dimension (of three or more); else they lie along the last.  A vector is
        one sample.
    """
    return statistics_of_slopes(pointwise.slope(name, parameters, x.detach()), flat, channels_first)


@torch.no_grad()
def statistics_of_slopes(slopes: Tensor, flat: float, channels_first: bool = False) -> SlopeStatistics:
    """The same of f′(x) as computed elsewhere, of any floating dtype and device."""
    batch = slopes.detach() if slopes.ndim > 1 else slopes.detach().reshape(1, -1)
    alive = batch.movedim(1 if channels_first and batch.ndim > 2 else -1, 0).flatten(1).ne(0).any(1)
    wide = batch.to(torch.float32 if batch.device.type == "mps" else torch.float64)  # mps has no float64
    numbers = [wide.mean(), wide.square().mean().sqrt(), batch.abs().lt(flat).sum(), alive.logical_not().sum()]
    mean, rms, below, dead = torch.stack([n.to(wide.dtype) for n in numbers]).tolist()
    return SlopeStatistics(slopes.numel(), mean, rms, round(below), round(dead), alive)
