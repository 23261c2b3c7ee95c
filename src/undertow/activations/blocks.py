"""Operations in wider arithmetic on large tensors, a piece at a time.

What they make in between is several times the size of x.  In one go it comes in fresh memory, whose first touch costs
more than the arithmetic; in pieces it stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 1 << 15
"""Values in a piece for each thread: 256 KiB in float64.  From here on torch uses more than one thread.  Our choice."""


def in_blocks(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """function(*tensors), elementwise, in the dtype of the last; records nothing for autograd.

    The tensors have one shape and are read-only.
    """
    if not all(t.is_contiguous() for t in tensors):
        return function(*tensors).to(tensors[-1].dtype)
    return _pieces(function, [t.view(-1) for t in tensors], 1).view(tensors[0].shape)


def in_rows(function: Callable[..., Tensor], dim: int, *tensors: Tensor) -> Tensor:
    """The same for a function of vectors along a dimension, whose result has as many vectors."""
    last = dim == -1 or dim == tensors[0].ndim - 1 == 1  # as the function counts it, in rows too
    if tensors[0].ndim < 2 or not last or not all(t.is_contiguous() for t in tensors):
        return function(*tensors).to(tensors[-1].dtype)
    rows = [t.view(-1, t.shape[-1]) for t in tensors]
    out = _pieces(function, rows, max(t.shape[-1] for t in rows))
    return out.view(*tensors[0].shape[:-1], out.shape[-1])


def _pieces(function: Callable[..., Tensor], tensors: list[Tensor], size: int) -> Tensor:
    """In pieces along the first dimension, of which one index is so many values."""
    count, dtype = max(1, BLOCK * torch.get_num_threads() // max(size, 1)), tensors[-1].dtype
    if len(tensors[0]) <= count:
        return function(*tensors).to(dtype)
    out, done = tensors[0].new_empty(0), 0
    for piece in zip(*(t.split(count) for t in tensors), strict=True):
        y = function(*piece)
        if not done:
            out = torch.empty((len(tensors[0]), *y.shape[1:]), dtype=dtype)
        out[done : done + len(y)] = y
        done += len(y)
    return out
