"""Statistics of an activation's derivative over the inputs that it received."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from undertow.native import kernels, pointwise
from undertow.native.device import on_its_way
from undertow.native.statistics import CODES, MANY, address, threads

VALUES = -1
"""In place of a kernel's number: the numbers are slopes already."""


class SlopeStatistics:
    """What `slope_statistics` and `statistics_of_slopes` return; what a GPU computes is waited for when it is read."""

    __slots__ = ("_numbers", "_pending", "alive", "count")

    def __init__(self, count: int, alive: Tensor, numbers: tuple[float, ...] | Callable[[], Tensor]) -> None:
        self.count = count
        self.alive = alive
        """Per unit, whether f′ differs from 0 (or is NaN) for any sample: bool, on the device of the slopes."""
        self._pending = numbers if callable(numbers) else None
        self._numbers = () if callable(numbers) else numbers

    @property
    def mean(self) -> float:
        """Of the finite f′, as the rms; NaN where there are none."""
        return self._arrived()[0]

    @property
    def rms(self) -> float:
        return self._arrived()[1]

    @property
    def flat(self) -> int:
        """Values with |f′| below the threshold."""
        return int(self._arrived()[2])

    @property
    def dead(self) -> int:
        """Units whose f′ is exactly 0 for every sample."""
        return int(self._arrived()[3])

    def _arrived(self) -> tuple[float, ...]:
        if self._pending is not None:
            self._numbers, self._pending = tuple(self._pending().tolist()), None
        return self._numbers


def takes(name: str, x: Tensor) -> bool:
    """Whether `slope_statistics` has a kernel for the named function on this tensor."""
    return x.is_cpu and pointwise.has(name, 1, x.dtype)


def derivative(name: str, parameters: tuple[float, ...], flat: float) -> Any:
    """What `Reader.slope` takes of a function and its threshold; None where there is no kernel for float32."""
    if not pointwise.has(name, 1, torch.float32):
        return None
    return kernels.module.Derivative(pointwise.number(name), parameters[0] if parameters else 0.0, flat)


def slope_statistics(
    name: str, parameters: tuple[float, ...], x: Tensor, flat: float, channels_first: bool = False
) -> SlopeStatistics:
    """mean f′(x), rms f′(x), the number of |f′(x)| < flat, and which units have any f′(x) ≠ 0, in one pass over x.

    The slopes are those of `native.pointwise.slope`; no more than 4,096 of them are in memory at a time.  From 131,072
    values on they are computed for 65,536, in runs of 128 from the first to the last: the rms is right to 0.4 % and a
    share p to √(p/65,536), two standard errors of as many independent values.  Where that leaves a unit without a
    slope, or a unit has few values, all are.

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
    return _by_kernel(pointwise.number(name), parameters, x.detach(), flat, channels_first)


def statistics_of_slopes(slopes: Tensor, flat: float, channels_first: bool = False) -> SlopeStatistics:
    """The same of f′(x) as computed elsewhere: any floating dtype and device, in one pass of a kernel on the CPU."""
    slopes = slopes.detach()
    if slopes.is_cpu and slopes.dtype in CODES and kernels.module is not None:
        return _by_kernel(VALUES, (), slopes, flat, channels_first)
    return by_torch(slopes, flat, channels_first)


def _by_kernel(
    kernel: int, parameters: tuple[float, ...], x: Tensor, flat: float, channels_first: bool
) -> SlopeStatistics:
    n, shape = x.numel(), x.shape
    units_along = (1 if channels_first and len(shape) > 2 else len(shape) - 1) if shape else 0
    units = shape[units_along] if shape else 1
    alive = torch.empty(units, dtype=torch.bool)
    if not n:
        return SlopeStatistics(0, alive.fill_(False), (math.nan, math.nan, 0, units))
    at = address(x)
    if not at:
        x = pointwise.dense(x)
        at = x.data_ptr()
    inner = 1
    if units > 1:
        inner = x.stride(units_along)  # of values without gaps: how many lie between a unit and the next
    parameter = parameters[0] if parameters else 0.0
    flat = rounded(flat, x.dtype) if x.dtype.itemsize == 2 else flat
    numbers = kernels.module.slopes(
        CODES[x.dtype], kernel, at, n, parameter, flat, inner, units, alive.data_ptr(), 1 if n < MANY else threads()
    )
    return SlopeStatistics(n, alive, numbers)


@lru_cache(maxsize=256)
def rounded(number: float, dtype: torch.dtype) -> float:
    """The number as torch compares it with a tensor of that dtype."""
    return torch.tensor(number, dtype=dtype).item()


@torch.no_grad()
def by_torch(slopes: Tensor, flat: float, channels_first: bool = False) -> SlopeStatistics:
    """`statistics_of_slopes` in torch operations."""
    slopes = slopes.detach()
    batch = slopes if slopes.ndim > 1 else slopes.reshape(1, -1)
    alive = batch.movedim(1 if channels_first and batch.ndim > 2 else -1, 0).flatten(1).ne(0).any(1)
    finite = batch.isfinite()
    wide = torch.where(finite, batch, 0.0)
    wide = wide.to(torch.float32 if batch.device.type == "mps" else torch.float64)  # mps has no float64
    n = finite.sum()
    numbers = [wide.sum() / n, (wide.square().sum() / n).sqrt(), batch.abs().lt(flat).sum(), (~alive).sum()]
    return SlopeStatistics(slopes.numel(), alive, on_its_way(torch.stack([v.to(wide.dtype) for v in numbers])))
