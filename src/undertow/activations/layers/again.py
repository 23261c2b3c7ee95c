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

EPS = "undertow.eps"
"""Under this name a lean LayerNorm leaves its ε with its node, which keeps all else that the result depends on."""
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
    "NativeLayerNormBackward0": lambda n: F.layer_norm(
        n._saved_input, n._saved_normalized_shape, n._saved_weight, n._saved_bias, n.metadata[EPS]
    ),
}
"""f(x) from what torch's node of f keeps.  Not here: functions that keep their result, as ReLU, sigmoid and tanh."""


class Again:
    """What stands in the graph for y: the node of f, and where y lies in f's result."""

    __slots__ = ("dtype", "function", "node", "stride", "view")

    def __init__(self, node: Node, function: Callable[[Node], Tensor], result: Tensor, y: Tensor) -> None:
        self.node, self.function, self.stride, self.dtype = node, function, result.stride(), y.dtype
        self.view = None if result is y else (y.shape, y.stride(), y.storage_offset() - result.storage_offset())

    def __call__(self) -> Tensor:
        y = self.function(self.node)
        if y.stride() != self.stride:  # x came back from elsewhere with its dimensions in another order
            y = torch.empty_strided(y.shape, self.stride, dtype=y.dtype, device=y.device).copy_(y)
        if self.view is not None:
            size, stride, offset = self.view
            y = y.as_strided(size, stride, y.storage_offset() + offset)
        return y.to(self.dtype)


class Part(NamedTuple):
    """A tensor that begins where y does, and goes through its memory in another way."""

    y: Again
    size: torch.Size
    stride: tuple[int, ...]

    def __call__(self) -> Tensor:
        return self.y().as_strided(self.size, self.stride)


class Held:
    """Any other tensor, under torch's rule that nobody may write into it before the backward pass."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.version = tensor, tensor._version

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
    if not _is_recorded(y) or y._version:  # written into after f, or by f itself
        return None
    for result in (y,) if y._base is None else (y, y._base):  # f's result, or a view of it
        function = _function(result.grad_fn)
        if function is not None:
            return Again(result.grad_fn, function, result, y)
    return None


def _function(node: Node) -> Callable[[Node], Tensor] | None:
    """f of what the node keeps, or None where that is not enough."""
    name = type(node).__name__
    function = FROM_INPUT.get(name)
    if function is None:
        function = getattr(getattr(node, "_forward_cls", None), "again", None)  # of an autograd.Function of ours
    elif name == "MulBackward0" and any(taker is None for taker, _ in node.next_functions):
        return None  # a product with a constant keeps the constant only
    elif name == "NativeLayerNormBackward0" and EPS not in node.metadata:
        return None
    return function if function is not None and _asked_twice(node) else None


def _asked_twice(node: Node) -> bool:
    """Whether the node's tensors may be unpacked twice: a checkpoint or an offload may hand each back only once."""
    outer = _engine._top_saved_tensors_default_hooks(True)
    if outer is None:
        return True
    if getattr(outer[0], "__module__", None) == "torch.utils.checkpoint":  # while it recomputes, it packs plain tensors
        return False
    raw = getattr(node, "_raw_saved_tensors", None)  # a Python function's
    if raw is None:
        raw = [getattr(node, name) for name in dir(node) if name.startswith("_raw_saved_")]
    return all(isinstance(getattr(r, "data", None), (Tensor, Again, Part, Held)) for r in raw)


def maker(y: Tensor) -> str:
    """The operation that made y, as torch names its node or a definition itself; empty where y takes no gradient."""
    node = y.grad_fn if y._base is None or y._base.grad_fn is None else y._base.grad_fn
    act = getattr(node, "act", None)
    return "" if node is None else type(node).__name__ if act is None else act.label


def forgetting(operation: Callable[[Tensor], Tensor], y: Tensor, origin: Again | None = None) -> Tensor:
    """operation(y), where nothing of y stays for the backward pass if it can be computed again.

    `operation` takes y as it is, or as autocast casts it: what it keeps of y must be y's own memory.
    """
    origin = source(y) if origin is None else origin
    if origin is None:
        return operation(y)
    if torch.is_autocast_enabled(y.device.type) and y.dtype != torch.float64:
        y = y.to(torch.get_autocast_dtype(y.device.type))  # as the operation would itself, unseen
        origin.dtype = y.dtype
    pointer, shape, stride = y.data_ptr(), y.shape, y.stride()
    outer = _engine._top_saved_tensors_default_hooks(True)

    def pack(t: Tensor) -> Any:
        if t.data_ptr() != pointer:
            return Held(t) if outer is None else outer[0](t)
        return origin if t.shape == shape and t.stride() == stride else Part(origin, t.shape, t.stride())

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, (Again, Part, Held)):
            with torch.no_grad():
                return kept()
        return outer[1](kept)

    with saved_tensors_hooks(pack, unpack):
        return operation(y)


def _is_recorded(y: Tensor) -> bool:
    """Whether plain reverse mode records: under transforms and compilation hooks can't be, or decide nothing."""
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and type(y) is Tensor
        and y.layout is torch.strided
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and _engine._saved_tensors_hooks_is_enabled()
    )
