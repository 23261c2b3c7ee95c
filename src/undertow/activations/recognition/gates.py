"""Gated linear units in a traced graph: one tensor times an activation of another."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.fx import Node

from undertow.activations.base import ACTIVATIONS, Activation
from undertow.activations.lookup import activation
from undertow.activations.recognition.alike import POINTS, SAME
from undertow.activations.recognition.elementwise import Graph, operation

_OTHER = POINTS.roll(len(POINTS) // 3)
_WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d", "convolution", "addmm", "mm", "matmul"}


class Gate(NamedTuple):
    """A unit: its nodes, what it is made of, and the definition, a function of the sources side by side."""

    nodes: tuple[Node, ...]
    sources: tuple[Node, ...]
    definition: Activation
    difference: float


def gate(graph: Graph, end: Node) -> Gate | None:
    """The gated linear unit that ends in this node.

    Its two inputs are the halves of one tensor (`x.chunk(2, -1)`), two linear or convolution layers, or the only two
    inputs of a function.  Any other product of two signals (attention, a squeeze-and-excitation) is none.
    """
    for group, (first, second) in graph.functions(end, 2):
        whole = _halved(first, second)
        if whole is None and not _side_by_side(graph, first, second):
            continue
        values = graph.values(group, {first: POINTS, second: _OTHER})
        if values is None or values.shape != POINTS.shape:
            continue
        for act, swapped in _units():
            halves = (_OTHER, POINTS) if swapped else (POINTS, _OTHER)
            own = act(torch.cat(halves))
            difference = float(((values - own).abs() / own.abs().clamp(min=1)).nan_to_num(torch.inf).max())
            if difference > SAME:
                continue
            if whole is None or swapped:
                return Gate(group, (second, first) if swapped else (first, second), act, difference)
            cut, dim = whole
            placed = activation(act, dim=dim)  # pyright: ignore[reportArgumentType]
            return Gate((cut, first, second, *group), (cut.all_input_nodes[0],), placed, difference)
    return None


def _units() -> Iterator[tuple[Activation, bool]]:
    """Every gated unit of the catalogue, either half first."""
    names = [name for name, entry in ACTIVATIONS.items() if hasattr(entry.definition, "gate")]
    for swapped in (False, True):
        yield from ((activation(name), swapped) for name in names)


def _halved(first: Node, second: Node) -> tuple[Node, int] | None:
    """The node that cuts one tensor into these two halves, and along which dimension."""
    for node, index in ((first, 0), (second, 1)):
        if node.target is not operator.getitem or node.args[1] != index:
            return None
    cut: Any = first.args[0]
    if cut is not second.args[0] or operation(cut) not in ("chunk", "tensor_split"):
        return None
    given = {**dict(zip(("chunks", "dim"), cut.args[1:], strict=False)), **cut.kwargs}
    return (cut, given.get("dim", 0)) if 2 in (given.get("chunks"), given.get("indices_or_sections")) else None


def _side_by_side(graph: Graph, first: Node, second: Node) -> bool:
    given = [node for node in graph.module.graph.nodes if node.op == "placeholder"]
    return {first, second} == set(given) or all(_weighted(graph, node) for node in (first, second))


def _weighted(graph: Graph, node: Node) -> bool:
    if node.op == "call_module":
        module = graph.module.get_submodule(str(node.target))
        return isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
    return operation(node) in _WEIGHTED
