"""An elementwise function as a graph of aten operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import Graph

from undertow.native.triton.operations import KEPT


class Unsupported(Exception):
    """A function with an operation that no kernel has: the caller takes torch's own operations."""


def trace(functions: Sequence[Callable[[Tensor], Tensor]]) -> Graph:
    """The operations of all functions of one float32 tensor, torch's compound ones taken apart."""
    from torch._decomp import decomposition_table  # half a second, and only GPUs need it
    from torch.fx.experimental.proxy_tensor import make_fx

    whole = {op: rule for op, rule in decomposition_table.items() if _name(op) not in KEPT}

    def together(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in functions)

    with torch.no_grad():
        module = make_fx(together, decomposition_table=whole)(torch.linspace(-2.0, 2.0, 7))
    for node in module.graph.nodes:
        if node.op == "get_attr":  # a constant: only a single number can stand in a kernel
            value = getattr(module, node.target)
            if value.numel() != 1:
                raise Unsupported(f"a tensor of {value.numel()} values in an elementwise function")
            node.meta["number"] = value.item()
    module.graph.eliminate_dead_code()
    return module.graph


def _name(op: object) -> str:
    return getattr(op, "_opname", "")
