"""One-pass statistics of a tensor, compiled where a kernel takes it and in torch everywhere else."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.native import kernels

KERNEL_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


class Statistics(NamedTuple):
    """What `statistics` returns: the fields of a reading, in its order."""

    count: int  # pyright: ignore[reportIncompatibleMethodOverride]: a reading's field, not tuple's method
    mean: float
    rms: float
    max: float
    zeros: int
    nans: int
    infs: int
    subnormals: int


def statistics(tensor: Tensor) -> Statistics:
    """mean = Σx/n,  rms = √(Σx²/n),  max = max|x| over the n finite values, and how many of each kind there are.

    Parameters
    ----------
    tensor:
        Any shape, layout and device; float16, bfloat16, float32 and float64 on the CPU go to the compiled kernel,
        every other real dtype to torch.  Nothing is recorded for autograd.

    Returns
    -------
    Statistics
        `count` of all values, `mean`, `rms` and `max` of the finite ones (NaN where there are none), and the number
        of exact zeros, NaNs, infinities and subnormals (0 < |x| < the dtype's smallest normal number).  Sums are
        taken in float64, and in units of the maximum where a square would leave its range.

    Raises
    ------
    InputError
        A complex tensor, or one without values (a meta tensor).
    """
    _check(tensor)
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if kernels.module is not None and tensor.device.type == "cpu" and tensor.dtype in KERNEL_DTYPES:
        return Statistics._make(kernels.module.statistics(_in_memory_order(tensor)))
    return by_torch(tensor)


def _check(tensor: Tensor) -> None:
    if tensor.is_complex():
        raise InputError(f"a tensor of {tensor.dtype}", "real numbers", "statistics(torch.view_as_real(tensor))")
    if tensor.is_meta:
        raise InputError("a meta tensor", "a tensor with values", 'model.to_empty(device="cpu")')


def _in_memory_order(tensor: Tensor) -> Tensor:
    """The same values as a contiguous tensor, without a copy where they fill a block of memory in any order."""
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    return tensor.contiguous().resolve_neg()


@torch.no_grad()
def by_torch(tensor: Tensor) -> Statistics:
    """The same in plain torch: any real dtype, any device, four transfers to the host."""
    tiny = torch.finfo(tensor.dtype).tiny if tensor.is_floating_point() else 0
    values = tensor.detach().to(torch.float32 if tensor.device.type == "mps" else torch.float64)  # mps has no float64
    count, nans = values.numel(), 0
    top = values.abs().max().item() if count else 0.0
    if not math.isfinite(top):
        nans = int(values.isnan().count_nonzero())
        values = values[values.isfinite()]
        top = values.abs().max().item() if values.numel() else 0.0
    n = values.numel()
    counts = [values.count_nonzero(), (values.abs() >= tiny).count_nonzero()]
    unit = top if top and not _squares_fit(values.dtype, top) else 1.0
    values = values / unit if unit != 1.0 else values
    nonzero, normal = torch.stack(counts).tolist()
    total, squares = torch.stack([values.sum(), values.square().sum()]).tolist()
    return Statistics(
        count=count,
        mean=total / n * unit if n else math.nan,
        rms=math.sqrt(squares / n) * unit if n else math.nan,
        max=top if n else math.nan,
        zeros=n - nonzero,
        nans=nans,
        infs=count - n - nans,
        subnormals=nonzero - normal if tiny else 0,
    )


def _squares_fit(dtype: torch.dtype, top: float) -> bool:
    """Whether Σx² neither overflows nor loses digits; the kernel's limits, and never in float32."""
    return dtype is torch.float64 and 1e-140 < top < 1e140
