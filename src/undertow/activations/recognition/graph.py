"""Activations in a traced graph, however they are spelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from undertow.activations.base import Activation, Pointwise
from undertow.activations.custom import Custom
from undertow.activations.recognition.alike import POINTS, SAME, Alike, alike
from undertow.activations.recognition.calls import recognise_call
from undertow.activations.recognition.elementwise import Graph, constant, operation
from undertow.activations.recognition.gates import gate
from undertow.activations.recognition.modules import of_module
from undertow.activations.recognition.tracing import Untraceable, line_of, path_of, traced
from undertow.foundation import InputError


@dataclass(frozen=True)
class Match:
    """Nodes of a graph that compute an activation together."""

    nodes: tuple[Node, ...]
    """In the order of the graph; the last has the result."""
    sources: tuple[Node, ...]
    """What it is a function of: one node, or the two halves of a gated linear unit."""
    definition: Activation
    difference: float = 0.0
    """The largest, relative to max(1, |f|), within |x| ≤ 10 in float64; 0 for a call of the function itself."""

    @property
    def same(self) -> bool:
        """Whether it is this function; else it comes near, as with a constant that was written with few digits."""
        return self.difference <= SAME

    @property
    def path(self) -> str:
        """The module in whose forward it was written, "" for the model's own."""
        return path_of(self.nodes[-1])

    @property
    def line(self) -> str:
        """`model.py:12`, where the trace knows."""
        return line_of(self.nodes[-1])


def recognise_graph(graph: GraphModule | ExportedProgram | nn.Module | Callable[..., Any]) -> list[Match]:
    """The activations in a graph of torch.fx or torch.export, in its order.

    A group of elementwise nodes that is a function of one tensor is compared with the values of every definition, at
    350 points in float64: any spelling is found, with the numbers in the graph as parameters.  The largest group
    counts: `x * sigmoid(x)` is Swish, and its sigmoid is none by itself.  A model or function is traced first.

    Raises
    ------
    InputError
        For something that is no graph and that torch.fx can't trace; the message has the reason.
    """
    return list(_Matching(_graph_module(graph)).matches())[::-1]


def of_function(function: Callable[..., Any]) -> Activation | None:
    """The activation that a function or module is as a whole, called with one tensor."""
    try:
        module = traced(_OfOne(function))
    except Untraceable:
        return None
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    result = next(node for node in module.graph.nodes if node.op == "output").args[0]
    for match in _Matching(module).matches():
        if match.nodes[-1] is result and match.sources == (given[0],) and match.same:
            return match.definition
    return None


class _OfOne(nn.Module):
    """torch.fx would make inputs of the parameters that have defaults."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def _graph_module(graph: Any) -> GraphModule:
    if isinstance(graph, GraphModule):
        return graph
    if isinstance(graph, ExportedProgram):
        return graph.module()  # pyright: ignore[reportReturnType]
    example = "recognise_graph(torch.fx.symbolic_trace(model))"
    if not callable(graph):
        raise InputError(type(graph).__name__, "a graph of torch.fx or torch.export, a model or a function", example)
    try:
        return traced(graph)
    except Untraceable as error:
        got = f"a {type(graph).__name__} that torch.fx can't trace ({error})"
        raise InputError(got, "one without branches on values", "torch.export.export(model, (x,))") from error


def _used_outside(node: Node, group: tuple[Node, ...]) -> bool:
    return any(user not in group and operation(user) != "_assert_tensor_metadata" for user in node.users)


def _by_itself(module: GraphModule, node: Node) -> Activation | None:
    """The activation of one node."""
    if node.op == "call_module":
        return of_module(module.get_submodule(str(node.target)))
    if node.op not in ("call_function", "call_method") or not node.args:
        return None
    values, named = map_arg((node.args[1:], node.kwargs), lambda n: constant(module, n))
    return recognise_call(operation(node), (POINTS, *values), named)


class _Matching:
    def __init__(self, module: GraphModule) -> None:
        self.nodes: list[Node] = list(module.graph.nodes)
        self.called = {n: act for n in self.nodes if (act := _by_itself(module, n)) is not None}
        plain = {n: a for n, a in self.called.items() if n.op == "call_module" and isinstance(a, Pointwise)}
        self.graph = Graph(module, {n: a for n, a in plain.items() if not a.tensors})
        self.seen: dict[bytes, Alike | None] = {}

    def matches(self) -> Iterator[Match]:
        """The last first."""
        inside: set[Node] = set()
        for node in reversed(self.nodes):
            if node in inside:
                continue
            match = self._largest(node) or self._gate(node)
            if match is None or len(match.nodes) == 1:
                match = self._call(node) or match
            if match is not None:
                yield match
                inside |= {n for n in match.nodes[:-1] if not _used_outside(n, match.nodes)}

    def _largest(self, end: Node) -> Match | None:
        near: Match | None = None
        for group, sources in list(self.graph.functions(end, 1))[::-1]:
            values = self.graph.values(group, {sources[0]: POINTS})
            if values is None or values.shape != POINTS.shape:
                continue
            found = self._alike(values, self.graph.numbers(group))
            if found is None:
                continue
            match = Match(group, sources, *found)
            if match.same:
                return match
            near = near or match
        return near

    def _gate(self, node: Node) -> Match | None:
        found = gate(self.graph, node)
        return found and Match(*found)

    def _alike(self, values: torch.Tensor, numbers: set[float]) -> Alike | None:
        key = values.numpy().tobytes()
        if key not in self.seen:
            self.seen[key] = alike(values, numbers)
        return self.seen[key]

    def _call(self, node: Node) -> Match | None:
        act = self.called.get(node)
        if act is None or isinstance(act, Custom):
            return None
        return Match((node,), tuple(node.all_input_nodes[:1]), act)
