"""Compiled loops over f, f′, both at once and g·f′, by the name of the function; nothing known of activations.

Results of float32 and float64 lie within 2 ulp of the true ones (f′ within 1 ulp of its scale near its zero), for any
finite or infinite input; NaN passes through; at a kink f′ is the derivative from the left.  16-bit formats go through
a table of all 65,536 results.  Threads are as many as `torch.get_num_threads()`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undertow.foundation import InputError
from undertow.native import kernels

_INDEX: dict[str, int] = {}
_pointwise: Any = None
if kernels.module is not None:
    _INDEX = {name: index for index, name in enumerate(kernels.module.pointwise_names())}
    _pointwise = kernels.module.pointwise

VALUE, SLOPE, BOTH, TIMES_SLOPE = range(4)
_ONE_THREAD = 4096  # elements below which the kernels ask for no other thread, nor do we ask how many there are
_threads = torch.get_num_threads
_empty_like = torch.empty_like


def has(name: str, order: int, dtype: torch.dtype) -> bool:
    """Whether a kernel gives the derivative of that order (0 or 1) of the named function in that dtype."""
    if name not in _INDEX or order not in (0, 1):
        return False
    return dtype is torch.float32 or (dtype is torch.float64 and kernels.module.has_float64())


def names() -> tuple[str, ...]:
    """Names of the compiled functions; empty where the kernels are not built."""
    return tuple(_INDEX)


def number(name: str) -> int:
    """The number of the named function's kernel."""
    return _INDEX[name]


def isa() -> str:
    """The instruction set in use: avx512, avx2 or baseline; empty where the kernels are not built."""
    return kernels.module.isa() if kernels.module is not None else ""


def value(name: str, parameters: tuple[float, ...], x: Tensor, out: Tensor | None = None) -> Tensor:
    """f(x), of the shape and memory layout of x.

    Parameters
    ----------
    name, parameters:
        The function, and its parameters in the order of the definition's fields (at most one).
    x:
        float32 or float64 on the CPU, any shape and layout; one that fills its memory densely is not copied.
    out:
        A tensor like x to write into; it may be x itself.
    """
    return _one(VALUE, name, parameters, x, out)


def slope(name: str, parameters: tuple[float, ...], x: Tensor, out: Tensor | None = None) -> Tensor:
    """f′(x); arguments as of `value`."""
    return _one(SLOPE, name, parameters, x, out)


def both(
    name: str, parameters: tuple[float, ...], x: Tensor, out: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """(f(x), f′(x)) in one pass; arguments as of `value`."""
    x = dense(x)
    y, d = (_empty_like(x), _empty_like(x)) if out is None else (_like(out[0], x), _like(out[1], x))
    _run(BOTH, name, parameters, x, 0, y, d.data_ptr())
    return y, d


def times_slope(name: str, parameters: tuple[float, ...], x: Tensor, g: Tensor, out: Tensor | None = None) -> Tensor:
    """g·f′(x), the backward pass; g like x, and `out` may be g itself."""
    x = dense(x)
    g = _in_layout_of(x, g)
    y = _empty_like(x) if out is None else _like(out, x)
    _run(TIMES_SLOPE, name, parameters, x, g.data_ptr(), y, 0)
    return y


def lookup(table: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """table[bits of x]: 65,536 results of the dtype of x, bfloat16 or float16."""
    x = dense(x)
    y = _empty_like(x) if out is None else _like(out, x)
    kernels.module.lookup(table.data_ptr(), x.data_ptr(), y.data_ptr(), x.numel(), _threads())
    return y


def lookup_times(table: Tensor, x: Tensor, g: Tensor, out: Tensor | None = None) -> Tensor:
    """g·table[bits of x], the table in float32, multiplied in float32 and rounded once to the dtype of x."""
    x = dense(x)
    g = _in_layout_of(x, g)
    y = _empty_like(x) if out is None else _like(out, x)
    brain = x.dtype is torch.bfloat16
    kernels.module.lookup_times(
        table.data_ptr(), x.data_ptr(), g.data_ptr(), y.data_ptr(), x.numel(), _threads(), brain
    )
    return y


def _one(operation: int, name: str, parameters: tuple[float, ...], x: Tensor, out: Tensor | None) -> Tensor:
    x = dense(x)
    y = _empty_like(x) if out is None else _like(out, x)
    _run(operation, name, parameters, x, 0, y, 0)
    return y


def _run(operation: int, name: str, parameters: tuple[float, ...], x: Tensor, g: int, y: Tensor, d: int) -> None:
    n = x.numel()
    threads = 1 if n < _ONE_THREAD else _threads()
    parameter = parameters[0] if parameters else 0.0
    is_double = x.dtype is torch.float64
    _pointwise(_INDEX[name], operation, is_double, x.data_ptr(), g, y.data_ptr(), d, n, threads, parameter)


def dense(x: Tensor) -> Tensor:
    """x itself where its values fill a block of memory in any order, else a contiguous copy."""
    if x.is_contiguous() and not x.is_neg():
        return x
    x = x.resolve_neg()
    in_order = x.permute(sorted(range(x.dim()), key=x.stride, reverse=True))
    return x if in_order.is_contiguous() else x.contiguous()


def _in_layout_of(x: Tensor, g: Tensor) -> Tensor:
    if g.stride() == x.stride() and g.dtype is x.dtype and not g.is_neg():
        return g
    return _empty_like(x).copy_(g)


def _like(out: Tensor, x: Tensor) -> Tensor:
    if out is not x and (out.stride() != x.stride() or out.shape != x.shape or out.dtype is not x.dtype):
        raise InputError(
            f"an output of {tuple(out.shape)}, strides {out.stride()}, {out.dtype}",
            f"one like the input: {tuple(x.shape)}, strides {x.stride()}, {x.dtype}",
            "out=torch.empty_like(x)",
        )
    return out
