"""How an activation is computed: by a table, by a compiled kernel, or by torch operations in wider arithmetic.

All give the same numbers to the library's accuracy, so the choice is only one of speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from undertow.activations.arithmetic import OutsideVocabulary, twofold
from undertow.activations.blocks import in_blocks
from undertow.activations.gpu import by_kernel
from undertow.native import available, pointwise

if TYPE_CHECKING:
    from undertow.activations.base import Pointwise

functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]

TABLE_PAYS_FROM = 16_384
"""A table costs 65,536 evaluations once: the number of values from which a first call is worth it.  Our choice."""


def evaluate(act: Pointwise, order: int, x: Tensor) -> Tensor:
    """f⁽ᵒʳᵈᵉʳ⁾(x_i), order 0, 1 or 2, in the dtype of x; the fast paths record nothing for autograd."""
    if plain(x):
        table = _table(act, order, x)
        if table is not None:
            return pointwise.lookup(table.rounded, x)
        if _has_kernel(act, order, x):
            return (pointwise.slope if order else pointwise.value)(act.name, numbers(act), x)
        if not act.tensors and not act.exact and not recorded(x):
            widened = in_twofold if x.dtype == torch.float64 else in_torch
            return in_blocks(lambda piece: widened(act, order, piece), x)
    y = by_kernel(act, order, x) if x.is_cuda and plain(x, "cuda") else None
    return in_torch(act, order, x) if y is None else y


def evaluate_times(act: Pointwise, order: int, x: Tensor, g: Tensor) -> Tensor:
    """g_i · f⁽ᵒʳᵈᵉʳ⁾(x_i), rounded once, in the dtype of g: what a backward pass needs."""
    if g.dtype == x.dtype and plain(x) and plain(g):
        table = _table(act, order, x)
        if table is not None:
            return pointwise.lookup_times(table.exact, x, g)
        if order == 1 and _has_kernel(act, order, x):
            return pointwise.times_slope(act.name, numbers(act), x, g)
        if not act.tensors and x.shape == g.shape and not recorded(x, g):
            return in_blocks(lambda piece, g: times_in_torch(act, order, piece, g), x, g)
    if x.is_cuda and g.dtype == x.dtype and g.shape == x.shape and plain(x, "cuda") and plain(g, "cuda"):
        product = by_kernel(act, order, x, g)
        if product is not None:
            return product
    return times_in_torch(act, order, x, g)


def times_in_torch(act: Pointwise, order: int, x: Tensor, g: Tensor) -> Tensor:
    """g_i · f⁽ᵒʳᵈᵉʳ⁾(x_i) in torch operations, rounded once."""
    if x.dtype == torch.float64 and not act.exact and plain(x) and not act.tensors and not recorded(x):
        return g * in_twofold(act, order, x)
    wide = x if act.exact else working(x)
    return (g.to(wide.dtype) * _formula(act, order, wide)).to(g.dtype)


def recorded(*tensors: Tensor) -> bool:
    """Whether autograd records what is done with them."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def in_twofold(act: Pointwise, order: int, x: Tensor) -> Tensor:
    """f⁽ᵒʳᵈᵉʳ⁾(x_i) for float64 in 106 bits, rounded once; in float64 where an operation has no such arithmetic."""
    try:
        return twofold((act.f, act.df, act.d2f)[order], x)
    except OutsideVocabulary:
        return in_torch(act, order, x)


def in_torch(act: Pointwise, order: int, x: Tensor) -> Tensor:
    """f⁽ᵒʳᵈᵉʳ⁾(x_i) in torch operations, which autograd, torch.compile and exporters can follow."""
    return _formula(act, order, x if act.exact else working(x)).to(x.dtype)


def working(x: Tensor) -> Tensor:
    """x in the dtype that it is computed in: float64 on the CPU, so that the result is rounded once.

    On other devices float64 is slow or missing and float32 takes its place, as it does in an exported graph, whose
    runtime may lack float64.
    """
    if x.device.type in ("cpu", "meta") and not torch.compiler.is_exporting():
        return x.double()
    return x.float() if x.dtype.itemsize < 4 else x


def numbers(act: Pointwise) -> tuple[float, ...]:
    """The parameters in the order of the fields, as a kernel takes them."""
    return tuple(v.item() if isinstance(v, Tensor) else v for v in act.parameters.values())


def _formula(act: Pointwise, order: int, x: Tensor) -> Tensor:
    placed = act.placed(x)
    return (placed.f, placed.df, placed.d2f)[order](x)


def _has_kernel(act: Pointwise, order: int, x: Tensor) -> bool:
    # the name of the class: a user's own function may be called "gelu" too
    if act.name != getattr(type(act), "name", None) or not pointwise.has(act.name, order, x.dtype):
        return False
    return all(t.numel() == 1 and plain(t) for t in act.tensors.values())


class Table(NamedTuple):
    """f⁽ᵒʳᵈᵉʳ⁾ of all 65,536 numbers of a 16-bit dtype, by bit pattern: in float32, and rounded to the dtype."""

    exact: Tensor
    rounded: Tensor


def _table(act: Pointwise, order: int, x: Tensor) -> Table | None:
    if x.dtype.itemsize != 2 or act.tensors or not available():
        return None
    key = act, order, x.dtype
    if key not in _tables and x.numel() >= TABLE_PAYS_FROM:
        every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(x.dtype)
        with torch.no_grad():
            exact = _formula(act, order, every.double())
        while len(_tables) >= TABLES_KEPT:
            _tables.pop(next(iter(_tables)), None)
        # rounded once, as without a table: what is computed again is the same, whichever way is open then
        _tables[key] = Table(exact.float(), exact.to(x.dtype))
    return _tables.get(key)


TABLES_KEPT = 64
"""Tables in memory at once, 384 KiB each; the oldest goes first."""
_tables: dict[tuple[Pointwise, int, torch.dtype], Table] = {}


def plain(x: Tensor, device: str = "cpu") -> bool:
    """Whether x is memory that a kernel may read, and nobody watches the operations."""
    return (
        not torch.compiler.is_compiling()  # first: the others are not to be traced
        and type(x) in (Tensor, nn.Parameter)
        and x.device.type == device
        and x.layout is torch.strided
        and not functorch.is_functorch_wrapped_tensor(x)
        and not functorch.is_legacy_batchedtensor(x)  # as in autograd.grad(..., is_grads_batched=True)
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    )
