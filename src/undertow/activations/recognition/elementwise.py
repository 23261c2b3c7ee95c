"""Which nodes of a traced graph act on each element by itself, and what several of them compute together."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_map

from undertow.activations.arithmetic.vocabulary import CANONICAL
from undertow.activations.base import Pointwise
from undertow.activations.recognition.calls import CALLS, SYNONYMS, canonical
from undertow.activations.recognition.replay import REPLAYED

LONGEST = 100
"""Nodes of one function at most; the longest that we know, a rational function in aten, has 64.  Ours."""
_CASTS = {"to", "type", "type_as", "float", "double", "half", "bfloat16", "_to_copy", "contiguous", "alias"}
_LOGICAL = {f"{how}_{what}" for how in ("logical", "bitwise") for what in ("and", "or", "not")} | {
    "and",
    "or",
    "invert",
}
_MORE = {"rsub", "float_power", "addcmul", "lerp", "fmax", "fmin", "masked_fill", "heaviside", "sgn", "logaddexp"}
_COUPLED = {"softmax", "log_softmax", "softmin", "glu", "prelu", "rrelu"}
NAMES = (set(CANONICAL) | set(CALLS) | set(REPLAYED) | set(SYNONYMS) | _LOGICAL | _MORE) - _COUPLED


def operation(node: Node) -> str:
    """The name of torch's or Python's function that a node calls; "" for anything else."""
    target = node.target
    if node.op == "call_method":
        return canonical(str(target))
    if node.op != "call_function":
        return ""
    if isinstance(target, torch._ops.OpOverload):
        return canonical(target._schema.name.split("::")[1]) if target.namespace == "aten" else ""
    home = getattr(target, "__module__", None) or "torch"
    name = getattr(target, "__name__", "")
    return canonical(name) if home.split(".")[0] in ("torch", "_operator") else ""


def constant(module: GraphModule, node: Node) -> Tensor | None:
    """The value of a parameter, a buffer or a tensor that was made in the traced code."""
    if node.op != "get_attr":
        return None
    value: Any = module
    for part in str(node.target).split("."):
        value = getattr(value, part, None)
    return value.detach() if isinstance(value, Tensor) else None


@dataclass(frozen=True)
class Graph:
    """A traced graph, its constants, and the activation modules that it calls."""

    module: GraphModule
    activations: Mapping[Node, Pointwise]

    @cached_property
    def order(self) -> dict[Node, int]:
        return {node: i for i, node in enumerate(self.module.graph.nodes)}

    def acts_elementwise(self, node: Node) -> bool:
        name = operation(node).strip("_")
        if name in ("max", "min"):  # of two tensors; of one it is a reduction
            return len(node.args) == 2 and all(isinstance(a, Node) for a in node.args) and not node.kwargs
        return node in self.activations or name in NAMES or self._casts(node, name)

    @staticmethod
    def _casts(node: Node, name: str) -> bool:
        dtypes = [a for a in (*node.args, *node.kwargs.values()) if isinstance(a, torch.dtype)]
        return name in _CASTS and all(d.is_floating_point for d in dtypes)

    def number(self, node: Node) -> Tensor | None:
        """The value of a node that is one number."""
        value = constant(self.module, node)
        return value if value is not None and value.numel() == 1 else None

    def inputs(self, node: Node) -> list[Node]:
        """What a node takes, constants left out."""
        return [n for n in node.all_input_nodes if self.number(n) is None]

    def functions(self, end: Node, sources: int) -> Iterator[tuple[tuple[Node, ...], tuple[Node, ...]]]:
        """The groups of elementwise nodes that make `end` a function of so many nodes, each with these; short first.

        The latest node of the frontier is replaced by what it takes; one that is not elementwise stays.
        """
        order = self.order
        frontier, fixed, group = {end}, set[Node](), list[Node]()
        while frontier - fixed and len(fixed) <= sources and len(group) < LONGEST:
            latest = max(frontier - fixed, key=order.__getitem__)
            if not self.acts_elementwise(latest):
                fixed.add(latest)
                continue
            frontier.remove(latest)
            group.append(latest)
            frontier.update(self.inputs(latest))
            if len(frontier) == sources and not self._overwritten(group, frontier, order):
                yield tuple(sorted(group, key=order.__getitem__)), tuple(sorted(frontier, key=order.__getitem__))

    @staticmethod
    def _overwritten(group: list[Node], frontier: set[Node], order: Mapping[Node, int]) -> bool:
        """Whether a node outside the group changes what the group reads, before it has read it."""
        for read in (*group[1:], *frontier):
            for user in read.users:
                first = in_place(user) and user.all_input_nodes[0] is read
                if first and user not in group and order[user] < order[group[0]]:
                    return True
        return False

    def numbers(self, group: Sequence[Node]) -> set[float]:
        """The numbers that a group computes with."""
        found: set[float] = set()

        def note(value: Any) -> None:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found.add(float(value))

        for node in group:
            tree_map(note, (node.args, dict(node.kwargs)))
            values = [v for n in node.all_input_nodes if (v := self.number(n)) is not None]
            found.update(float(v) for v in values if v.dtype.is_floating_point)
        return found

    def values(self, group: Sequence[Node], at: Mapping[Node, Tensor]) -> Tensor | None:
        """What a group computes, in float64; None where torch refuses it."""
        known: dict[Node, Any] = {node: x.clone() for node, x in at.items()}

        def get(node: Node) -> Any:
            if node not in known:
                value = self.number(node)
                assert value is not None
                known[node] = value.reshape(()).double() if value.is_floating_point() else value.reshape(())
            return known[node]

        try:
            for node in group:
                known[node] = self._run(node, map_arg(node.args, get), map_arg(node.kwargs, get))
        except (RuntimeError, TypeError, ValueError):
            return None
        y = known[group[-1]]
        return y if isinstance(y, Tensor) and y.dtype == torch.float64 else None

    def _run(self, node: Node, args: Any, kwargs: Any) -> Any:
        if node in self.activations:
            return self.activations[node].f(args[0])
        if self._casts(node, operation(node)):
            return args[0] if args[0].is_floating_point() else args[0].double()
        if isinstance(node.target, str):
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)


def in_place(node: Node) -> bool:
    """Whether a node overwrites its first argument."""
    target = node.target
    name = target._schema.name if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", target)
    written = str(name).endswith("_") and not str(name).endswith("__") and target not in (operator.and_, operator.or_)
    return node.op in ("call_function", "call_method") and (written or node.kwargs.get("inplace") is True)
