"""One-pass statistics of a tensor, compiled where a kernel takes it and in torch everywhere else."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from undertow.foundation import InputError
from undertow.native import kernels

functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]

CODES = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2, torch.float64: 3}
"""What the kernel calls the formats that it reads."""
MANY = 1 << 18
"""Values from which several threads are worth it: the kernel's `GRAIN` for two.  Fewer don't ask how many there are."""
threads = torch.get_num_threads
_READ = frozenset(CODES if kernels.module is not None else ())
PLAIN = frozenset({Tensor, torch.nn.Parameter})
"""Kinds of tensor that have memory of their own, if any tensor has."""
_exchange: Any = getattr(Tensor, "__dlpack_c_exchange_api__", None)
reader: Any = kernels.module and kernels.module.Reader(tuple(PLAIN), tuple(CODES), threads, _exchange)
"""Looks at tensors and measures them in one call, at a tenth of what `address` costs; None without the kernels."""
WITH_VALUES = frozenset({torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc, torch.jagged})


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
        every other real dtype to torch.  Of a sparse tensor only the stored values are read; the others are zeros.
        Nothing is recorded for autograd.

    Returns
    -------
    Statistics
        `count` of all values, `mean`, `rms` and `max` of the finite ones (NaN where there are none), and the number
        of exact zeros, NaNs, infinities and subnormals (0 < |x| < the dtype's smallest normal number).  Counts and
        `max` are exact.  The kernel adds up sixteen numbers at a time in float32, and those sums in float64, each
        block in a unit in which float32 holds its squares: `rms` is right to 1e-6 of itself (1e-8 as a rule), and
        `mean` to 1e-7 of `rms`.  Sums of float64 are float64, in units of the maximum where a square would leave
        its range.

    Raises
    ------
    InputError
        A complex tensor, or one whose values are not at hand: a meta or fake tensor, one inside `torch.func`, or
        one that wraps others.
    """
    found = _by_kernel(tensor)
    if found is not None:
        return found
    values, unstored = stored(tensor)
    found = _by_kernel(values) or by_torch(values)
    return diluted(found, unstored) if unstored else found


def _by_kernel(tensor: Tensor) -> Statistics | None:
    found = None if reader is None else reader.statistics(tensor)
    return None if found is None else Statistics._make(found)


def address(tensor: Tensor) -> int:
    """Where a kernel can read the values of a tensor; 0 if there is no such place, no value or no kernel."""
    try:
        if (
            tensor.is_cpu
            and type(tensor) in PLAIN
            and tensor.dtype in _READ
            and tensor.is_contiguous()
            and not tensor.is_neg()
        ):
            return tensor.data_ptr()
    except RuntimeError:  # no memory of its own: sparse, or inside torch.func
        pass
    return 0


def stored(tensor: Tensor) -> tuple[Tensor, int]:
    """The values of a tensor as a contiguous one, in the order of memory, and how many zeros a sparse one leaves out.

    Nothing is copied where the values fill a block of memory in any order; of a sparse tensor, only what it stores; of
    a DTensor, the part that lies on this process.
    """
    tensor = getattr(tensor, "_local_tensor", tensor)
    _check(tensor)
    tensor, count = tensor.detach(), tensor.numel()
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()._values()
    elif tensor.layout in WITH_VALUES:
        tensor = tensor.values()
    elif tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    unstored = count - tensor.numel()
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))
    return tensor.contiguous().resolve_neg(), max(unstored, 0)


def _check(tensor: Tensor) -> None:
    if tensor.is_complex():
        raise InputError(f"a tensor of {tensor.dtype}", "real numbers", "statistics(torch.view_as_real(tensor))")
    if tensor.is_meta:
        raise InputError("a meta tensor", "a tensor with values", 'model.to_empty(device="cpu")')
    if functorch.is_functorch_wrapped_tensor(tensor):
        raise InputError("a tensor inside torch.func", "a tensor with values", "statistics of the function's result")
    if type(tensor) not in PLAIN and _wraps_others(tensor):
        kind = type(tensor).__name__
        raise InputError(f"a {kind}, which has no memory of its own", "a tensor with values", "tensor.to_local()")


def _wraps_others(tensor: Tensor) -> bool:
    if is_fake(tensor):
        return True
    return tensor.layout is not torch.jagged and bool(tensor.numel()) and tensor.data_ptr() == 0


def by_torch(tensor: Tensor) -> Statistics:
    """The same in plain torch: any real dtype, any device, one transfer to the host."""
    return of_row(row(tensor).tolist())


def of_row(numbers: list[float]) -> Statistics:
    """The fields from the eight numbers of a row."""
    count, mean, rms, top, zeros, nans, infs, subnormals = numbers
    return Statistics(int(count), mean, rms, top, int(zeros), int(nans), int(infs), int(subnormals))


@torch.no_grad()
def row(tensor: Tensor) -> Tensor:
    """The eight numbers as a tensor on the same device, which the host need not wait for."""
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64  # mps has no float64
    tiny = torch.finfo(tensor.dtype).tiny if tensor.is_floating_point() else 0.0
    x = tensor.detach().to(wide).flatten()
    finite = x.isfinite()
    x = torch.where(finite, x, 0.0)
    size, n = x.abs(), finite.sum()
    top = size.amax() if len(x) else n.to(wide)
    unit = torch.where(top > 0, top, 1.0)  # no square leaves the range
    scaled = x / unit
    nans = tensor.isnan().sum() if tensor.is_floating_point() else n * 0
    normal, nonzero = (size >= tiny).sum(), size.count_nonzero()
    fields = [
        n.new_full((), len(x)),
        scaled.sum() / n * unit,
        (scaled.square().sum() / n).sqrt() * unit,
        torch.where(n > 0, top, math.nan),
        n - nonzero,
        nans,
        len(x) - n - nans,
        nonzero - normal if tiny else n * 0,
    ]
    return torch.stack([f.to(wide) for f in fields])


def diluted(found: Statistics, zeros: int) -> Statistics:
    """The statistics with so many zeros more."""
    finite = found.count - found.nans - found.infs
    total = finite + zeros
    share = finite / total
    mean, rms, top = (found.mean, found.rms, found.max) if finite else (0.0, 0.0, 0.0)
    return Statistics(found.count + zeros, mean * share, rms * math.sqrt(share), top, found.zeros + zeros, *found[5:])
