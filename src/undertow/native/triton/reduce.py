"""The sums behind a tensor's statistics, in one kernel and one pass."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

SUMS = 7
"""sum, sum of squares, largest finite |x|, zeros, NaNs, infinities, subnormals."""
BLOCK = 4096
PROGRAMS = 1024
"""At most; several for each of the 132 multiprocessors of an H100.  What each found is added up by atomics."""


def add_sums(values: Tensor, sums: Tensor, block: int = BLOCK) -> None:
    """Adds the seven numbers of contiguous values to a row of zeros, on the current stream.

    Parameters
    ----------
    values:
        float16, bfloat16 or float32.  Each block is added up in float32, in units of a power of two near its maximum.
    sums:
        Seven float64 on the same device; the order in which programs add to it is not fixed.
    """
    blocks = -(-values.numel() // block)
    if blocks:
        smallest = 0x38800000 if values.dtype is torch.float16 else 0x00800000
        with torch.cuda.device_of(values):
            _kernel()[(min(blocks, PROGRAMS),)](values, sums, values.numel(), SMALLEST=smallest, BLOCK=block)


@cache
def _kernel() -> Any:
    from undertow.native.triton.sums import kernel

    return kernel
