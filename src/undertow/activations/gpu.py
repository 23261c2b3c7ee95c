"""Activations on a GPU: one Triton kernel from the definition where all its operations have one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from torch import Tensor

from undertow.native import triton

if TYPE_CHECKING:
    from undertow.activations.base import Pointwise


def by_kernel(act: Pointwise, order: int, x: Tensor, g: Tensor | None = None) -> Tensor | None:
    """f⁽ᵒʳᵈᵉʳ⁾(x_i), or g_i · f⁽ᵒʳᵈᵉʳ⁾(x_i) in the dtype of x; None where torch's operations have to do it."""
    if act.tensors or not triton.takes(x) or not hasattr(type(act), "name"):
        return None  # without a name in its class it is a user's own function, which may change with what it reads
    source = source_of(act, order, g is not None)
    return None if source is None else triton.launch(source, x, g)[0]


@lru_cache(maxsize=512)
def source_of(act: Pointwise, order: int, times: bool = False) -> str | None:
    """The kernel's source, or None where the definition has an operation that no kernel has."""
    try:
        return triton.generate((act.f, act.df, act.d2f)[order], times=times)
    except triton.Unsupported:
        return None
