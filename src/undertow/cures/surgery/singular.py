"""Functions in the user's source that have no finite derivative somewhere: logarithms, roots, quotients."""

from __future__ import annotations

import ast

import torch
from torch import Tensor

from undertow.cures.surgery.calls import Call, calls
from undertow.cures.training import Training

LOGARITHMS = {"log", "log2", "log10"}
ROOTS = {"sqrt", "rsqrt"}
SINGULAR = {*LOGARITHMS, *ROOTS, "reciprocal", "div", "true_divide", "truediv"}


def singular(training: Training) -> list[Call]:
    """The user's calls of such functions that take part in the gradient and are given what they have no derivative
    at; where the first batch gives that to none of them, all of them."""
    found = [
        c
        for c in calls(training)
        if c.place and c.graded and c.name in SINGULAR and any(t.requires_grad for t in c.tensors)
    ]
    return [c for c in found if _meets(c)] or found


def _meets(call: Call) -> bool:
    given = divisor_of(call)
    return given is not None and bool((given <= 0).any() if call.name in LOGARITHMS | ROOTS else (given == 0).any())


def divisor_of(call: Call) -> Tensor | None:
    """What must not be 0."""
    quotient = call.name in ("div", "true_divide", "truediv")
    given = call.args[1] if quotient and len(call.args) > 1 else call.args[0] if call.args else None
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return None
    with torch._C.DisableTorchFunction():
        return given.detach()


def operand_of(call: Call) -> ast.expr | None:
    """The expression of what must not be 0."""
    assert call.place is not None
    node = call.place.node
    if isinstance(node, ast.BinOp):
        return node.right if isinstance(node.op, ast.Div) else None
    if call.name in ("div", "true_divide", "truediv"):
        return None
    return call.place.operand
