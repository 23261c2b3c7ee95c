"""What a loss is made of: the graph from it back to the last layers of weights."""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor

from undertow.record import Term

MOST_NODES, MOST_OPERATIONS = 256, 8
"""How far to look: a sum of many terms, and a chain of calls between layer and loss, are still seen whole.  Ours."""
LOSSES = {
    "nll_loss",
    "nll_loss2_d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "smooth_l1_loss",
    "huber_loss",
    "soft_margin_loss",
}
WEIGHTS = {"addmm", "mm", "bmm", "baddbmm", "addbmm", "convolution", "embedding", "mkldnn_linear", "linear", "mv"}
MOVES = {
    "view",
    "unsafe_view",
    "reshape_alias",
    "squeeze",
    "unsqueeze",
    "transpose",
    "permute",
    "t",
    "expand",
    "slice",
    "select",
    "clone",
    "to_copy",
    "alias",
    "flatten",
    "as_strided",
}
"""Nodes that only move values."""
SCALED = {"mul", "div", "mean", "neg"}
"""Between a loss function and the loss they multiply the one with a number, where they have one input."""


def terms(loss: Tensor) -> tuple[Term, ...]:
    """The terms of a loss, by torch's loss functions in its graph; a softmax of a softmax is one without any.

    Only nodes are looked at, no tensor that they keep, so that a graph whose backward pass is over tells the same.
    """
    found: list[tuple[Any, bool]] = []
    todo, seen = [(loss.grad_fn, True)], set()
    while todo and len(seen) < MOST_NODES:
        node, alone = todo.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        name = operation(node)
        if name in LOSSES or name == "log_softmax":
            found.append((node, alone))
        elif name not in WEIGHTS:
            inputs = [n for n, _ in node.next_functions if n is not None]
            alone = alone and (name in SCALED | MOVES) and len(inputs) == 1
            todo += [(n, alone) for n in inputs]
    whole = loss.detach().item() if loss.is_cpu and len(found) == 1 and found[0][1] else math.nan
    return tuple(_term(node, whole) for node, _ in found)


def _term(node: Any, value: float) -> Term:
    names: list[str] = []
    axis: int | None = None
    shape: tuple[int, ...] = ()
    while node is not None and len(names) < MOST_OPERATIONS:
        name = operation(node)
        if name in WEIGHTS or hasattr(node, "variable"):
            break
        if name not in MOVES:
            names.append(name)
        if name in ("softmax", "log_softmax"):
            shape = tuple(node._input_metadata[0].shape)
            axis = int(node._saved_dim) % 2**64
            axis = axis - 2**64 + len(shape) if axis >= 2**63 else axis  # a negative one, as an unsigned number
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return Term(tuple(names), axis, shape, value)


def operation(node: Any) -> str:
    """`LogSoftmaxBackward0` is log_softmax; an autograd.Function of the user's own may have any name."""
    if hasattr(node, "_forward_cls"):
        return "custom"
    name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
