"""Attention that a user writes out: the product of queries and keys, what scales it, and the softmax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.cures.surgery.calls import Call, calls
from undertow.cures.surgery.place import Place, bracketed
from undertow.cures.training import Training
from undertow.record.operations import PLUMBING

PRODUCTS = {"matmul", "bmm", "einsum"}
FACTORS = {"mul", "rmul", "imul", "multiply", "div", "true_divide", "truediv", "itruediv", "divide"}
PASSING = PLUMBING | FACTORS | {"add", "radd", "iadd", "sub", "masked_fill", "where", "clamp", "baddbmm"}
FUSED = "scaled_dot_product_attention"


@dataclass(frozen=True, eq=False)
class Attending:
    """One attention of the user's own."""

    product: Call
    softmax: Call

    @property
    def place(self) -> Place:
        assert self.product.place is not None
        return self.product.place

    @property
    def size(self) -> int:
        """Of a head: over how many features queries and keys are multiplied."""
        return self.product.tensors[0].shape[-1]

    @property
    def factor(self) -> float:
        """By what the product is multiplied until the softmax takes it."""
        product, logits = self.product.output.detach(), self.softmax.args[0].detach()
        if product.numel() != logits.numel():
            return 1.0
        ratio = (logits.reshape(-1) / product.reshape(-1)).double()
        ratio = ratio[torch.isfinite(ratio)]
        return float(ratio.median()) if ratio.numel() else 1.0

    @property
    def scaled(self) -> bool:
        """Whether somebody multiplied the product, the queries or the keys by a number."""
        way = [*_back(self.softmax, self.product)]
        for index in range(len(self.product.args)):
            way += [c for c in (self.product.maker(index),) if c is not None]
            way += [c for first in way[-1:] for c in (first.maker(0),) if c is not None]
        return any(c.name in FACTORS and len([t for t in c.tensors if t.numel() > 1]) == 1 for c in way)

    def operands(self) -> tuple[ast.expr, ast.expr] | None:
        """The expressions of queries and keys; None where they are not the two sides of a matrix product."""
        match self.place.node:
            case ast.BinOp(op=ast.MatMult()) as node:
                return node.left, node.right
            case ast.Call(args=[first, second]) if self.product.name != "einsum":
                return first, second
            case ast.Call(args=[second], func=ast.Attribute(value=first)) if self.product.name != "einsum":
                return first, second
        return None

    def written(self, text: str) -> str:
        """A product or quotient as it may stand in the place of the matrix product."""
        outer = next(self.place.around(), None)
        return f"({text})" if isinstance(outer, ast.BinOp | ast.UnaryOp | ast.Attribute) else text

    def text(self) -> str:
        node = self.place.node
        assert node is not None
        whole = self.place.source(node)
        return whole if isinstance(node, ast.BinOp) else bracketed(whole, node)


def attending(training: Training) -> Iterator[Attending]:
    """Each place once."""
    seen: set[Place] = set()
    for call in calls(training):
        if call.name != "softmax" or not call.args:
            continue
        before = call.maker(0)
        while before is not None and before.name in PASSING:
            before = before.maker(0) or before.maker(1)
        if before is None or before.name not in PRODUCTS or before.place is None or before.place in seen:
            continue
        if any(isinstance(t, nn.Parameter) for t in before.tensors) or before.place.node is None:
            continue
        seen.add(before.place)
        yield Attending(before, call)


def fused(training: Training) -> Iterator[Call]:
    """Calls of torch's fused attention in the user's source, each place once."""
    found = {c.place: c for c in calls(training) if c.name == FUSED and c.place and "scale" not in c.kwargs}
    yield from found.values()


def _back(call: Call, until: Call) -> Iterator[Call]:
    before = call.maker(0)
    while before is not None and before is not until:
        yield before
        before = before.maker(0) or before.maker(1)


def number(value: float) -> str:
    """As a reader would write it."""
    return str(round(value)) if abs(value - round(value)) < 1e-6 * abs(value) else f"{value:.4g}"


def unit(place: Place, operand: ast.expr, axis: int) -> str:
    """The operand with vectors of length 1 along an axis; empty where the file can't name the function."""
    name = place.torch("normalize")
    return f"{name}({place.source(operand)}, dim={axis})" if name else ""


def packed(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """The attention layers of torch's whose queries and keys can be normalised, by path."""
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.MultiheadAttention
        and isinstance(module.in_proj_weight, Tensor)
        and module.bias_k is None
        and not module.add_zero_attn
    }
