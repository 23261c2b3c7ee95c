"""The ways through a model, as torch.fx traces them: which layers hand their features to which."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import GraphModule, Node

from undertow.activations import Pointwise, recognise, recognise_call
from undertow.activations.recognition.tracing import Untraceable, traced
from undertow.cures.surgery.normalise import NORMS
from undertow.foundation import say

POOLS = tuple(
    getattr(nn, f"{kind}Pool{n}d") for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for n in (1, 2, 3)
)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")
PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
QUOTIENTS = (operator.truediv, operator.itruediv, torch.div, "div", "div_")
SAME = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, "contiguous", "clone", "to", "float", "double")
"""Functions and methods that leave a tensor as it is, but for its type and for values that they drop."""
POOLINGS = tuple(
    getattr(F, f"{kind}_pool{n}d") for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for n in (1, 2, 3)
)


def graph_of(model: nn.Module) -> tuple[GraphModule | None, str]:
    """The graph, or the reason why there is none."""
    try:
        return traced(model), ""
    except Untraceable as error:
        return None, say("cures.refused.untraceable", reason=str(error))


def module_of(graph: GraphModule, node: Any) -> nn.Module | None:
    """The module that a node calls."""
    return graph.get_submodule(str(node.target)) if isinstance(node, Node) and node.op == "call_module" else None


def tensors(node: Node) -> list[Node]:
    """The nodes whose values a node takes."""
    return list(node.all_input_nodes)


def is_pointwise(graph: GraphModule, node: Node) -> bool:
    """Whether it is an elementwise activation."""
    if node.op == "call_module":
        return isinstance(recognise(module_of(graph, node)), Pointwise)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    called = node.op in ("call_function", "call_method")
    return called and isinstance(recognise_call(str(name), (torch.zeros(1, 1), *node.args[1:]), node.kwargs), Pointwise)


def is_scaled(node: Node) -> bool:
    """Whether a node is another one times or over a plain number, or that one itself."""
    if node.target in SAME:
        return len(tensors(node)) == 1
    return node.target in (*PRODUCTS, *QUOTIENTS) and len(tensors(node)) == 1


def before(node: Node) -> set[Node]:
    """All that a node depends on, itself among it."""
    found, ahead = {node}, [node]
    while ahead:
        for other in ahead.pop().all_input_nodes:
            if other not in found:
                found.add(other)
                ahead.append(other)
    return found


def sums(graph: GraphModule) -> Iterator[tuple[Node, Node]]:
    """(stream, branch) of each residual sum: two tensors, the one computed from the other."""
    for node in graph.graph.nodes:
        if node.target not in ADDS or len(node.args) != 2 or not all(isinstance(a, Node) for a in node.args):
            continue
        one, other = node.args
        if one is not other and one in before(other):
            yield one, other
        elif one is not other and other in before(one):
            yield other, one


def is_passive(graph: GraphModule, node: Node) -> bool:
    """Whether a node hands each feature on as it is or normalised: dropout, pooling over space, normalisation."""
    if node.target in (torch.mean, "mean"):
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return all(isinstance(d, int) and d >= 2 for d in (dims if isinstance(dims, tuple | list) else (dims,)))
    module = module_of(graph, node)
    return isinstance(module, (*POOLS, *DROPOUTS, *NORMS, nn.Identity)) or node.target in (*SAME, *POOLINGS)


def is_flat(graph: GraphModule, node: Node) -> bool:
    """Whether a node lays all dimensions but the first out in one: so many numbers for each feature, side by side."""
    module = module_of(graph, node)
    if isinstance(module, nn.Flatten):
        return module.start_dim == 1 and module.end_dim == -1
    return node.target in (torch.flatten, "flatten") and node.args[1:] in ((1,), (1, -1)) and not node.kwargs
