"""An operation on y = f(x) that keeps no y for its backward pass, where x is kept anyway: y is computed again.

Autograd's own backward pass runs, on the same numbers, so gradients of every order are those of the plain operation
to the last bit.  x is taken from the graph's node of f, where torch checks that nobody overwrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks

Node = Any
_engine: Any = torch._C._autograd  # pyright: ignore[reportAttributeAccessIssue]

FROM_INPUT: dict[str, Callable[[Node], Tensor]] = {
    "SiluBackward0": lambda n: F.silu(n._saved_self),
    "GeluBackward0": lambda n: F.gelu(n._saved_self, approximate=n._saved_approximate),
    "MishBackward0": lambda n: F.mish(n._saved_self),
    "SoftplusBackward0": lambda n: F.softplus(n._saved_self, n._saved_beta, n._saved_threshold),
    "EluBackward0": lambda n: torch.ops.aten.elu(n._saved_self, n._saved_alpha, n._saved_scale, n._saved_input_scale),
    "CeluBackward0": lambda n: F.celu(n._saved_self, n._saved_alpha),
    "HardswishBackward0": lambda n: F.hardswish(n._saved_self),
    "HardsigmoidBackward0": lambda n: F.hardsigmoid(n._saved_self),
    "HardtanhBackward0": lambda n: F.hardtanh(n._saved_self, n._saved_min_val, n._saved_max_val),
    "LeakyReluBackward0": lambda n: F.leaky_relu(n._saved_self, n._saved_negative_slope),
    "PreluKernelBackward0": lambda n: torch.ops.aten._prelu_kernel(n._saved_self, n._saved_weight),
    "LogSigmoidBackward0": lambda n: F.logsigmoid(n._saved_self),
    "SoftshrinkBackward0": lambda n: F.softshrink(n._saved_self, n._saved_lambd),
    "HardshrinkBackward0": lambda n: F.hardshrink(n._saved_self, n._saved_lambd),
    "MulBackward0": lambda n: n._saved_self * n._saved_other,
}
"""f(x) from what torch's node of f keeps.  Not here: functions that keep their result, as ReLU, sigmoid and tanh."""


class Layout(NamedTuple):
    """How a tensor lies in its memory."""

    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, t: Tensor) -> Layout:
        return cls(t.size(), t.stride(), int(t.storage_offset()))


class Again(NamedTuple):
    """What stands in the graph for a tensor that is computed again: f's node, and the steps from f(x) to the tensor."""

    node: Node
    function: Callable[[Node], Tensor]
    result: Layout
    seen: Layout
    dtype: torch.dtype
    saved: Layout | None = None

    @torch.no_grad()
    def __call__(self) -> Tensor:
        y = self.function(self.node)
        if y.stride() != self.result.stride:  # x came back from elsewhere with another order of its dimensions
            y = torch.empty_strided(y.shape, self.result.stride, dtype=y.dtype, device=y.device).copy_(y)
        assert self.saved is not None
        return y.as_strided(*self.seen).to(self.dtype).as_strided(*self.saved)


class Held(NamedTuple):
    """Any other tensor, under torch's rule that nobody may write into it before the backward pass."""

    tensor: Tensor
    version: int

    def __call__(self) -> Tensor:
        if self.tensor._version != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"a tensor of shape {tuple(self.tensor.shape)} is at version {self.tensor._version}, expected "
                f"version {self.version}"
            )
        return self.tensor


def source(y: Tensor) -> Again | None:
    """How y can be computed again from what the graph keeps, or None where it can't."""
    result = y if y._base is None else y._base
    node = result.grad_fn
    if node is None or result._version:  # not recorded, or written into after f or by f itself
        return None
    again = getattr(getattr(node, "_forward_cls", None), "again", None)  # of an autograd.Function of ours
    if again is None:
        name = node.name()
        if name == "MulBackward0" and any(taker is None for taker, _ in node.next_functions):
            return None  # a product with a constant keeps the constant only
        again = FROM_INPUT.get(name)
    return None if again is None else Again(node, again, Layout.of(result), Layout.of(y), y.dtype)


def forgetting(operation: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """operation(y), where nothing of y stays for the backward pass if it can be computed again."""
    origin = source(y) if _is_recorded(y) else None
    if origin is None:
        return operation(y)
    y = y.to(_cast_by_autocast(y))  # as the operation would do itself, unseen
    origin = origin._replace(dtype=y.dtype)

    def pack(t: Tensor) -> Again | Held:
        of_y = t.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
        return origin._replace(saved=Layout.of(t)) if of_y else Held(t, t._version)

    with saved_tensors_hooks(pack, lambda kept: kept()):
        return operation(y)


def _is_recorded(y: Tensor) -> bool:
    """Whether plain reverse mode records: under transforms and compilation hooks can't be, or decide nothing."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and type(y) is Tensor
        and y.layout is torch.strided
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and _engine._saved_tensors_hooks_is_enabled()
        # whoever packs tensors already (a checkpoint, an offload) may hand each of them back only once
        and _engine._top_saved_tensors_default_hooks(True) is None
    )


def _cast_by_autocast(y: Tensor) -> torch.dtype:
    device = y.device.type
    cast = torch.is_autocast_enabled(device) and y.is_floating_point() and y.dtype != torch.float64
    return torch.get_autocast_dtype(device) if cast else y.dtype
