"""Maps over the positions: moments at every one, and what a linear operation on them hands back."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def full(moments: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(groups, *sizes): a number for every position, also where all are alike or the axes were units."""
    if math.prod(moments.shape[1:]) == 1:
        moments = moments.reshape(-1, *[1] * len(sizes))
    elif moments.ndim != 1 + len(sizes):
        moments = moments.flatten(1).mean(1).reshape(-1, *[1] * len(sizes))
    return moments.expand(-1, *sizes)


def returned(operation: Callable[[Tensor], Tensor], output: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Aᵀ of an operation A that is linear in a map (groups, *sizes): what each position hands on, summed."""
    with torch.enable_grad():
        x = torch.zeros(output.shape[0], *sizes, dtype=output.dtype, requires_grad=True)
        (back,) = torch.autograd.grad(operation(x), x, output)
    return back
