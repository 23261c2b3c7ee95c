"""The computational graph of a scalar computation, recorded while torch runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from undertow.foundation import InputError, LossError


@dataclass(frozen=True)
class Node:
    """One scalar of the computation: an input, or the result of one operation."""

    index: int
    operation: str
    """torch's name of the operation (`mul`, `sigmoid`); `input` for an input."""
    name: str
    """The input's name; empty for a result."""
    inputs: tuple[int, ...]
    """The nodes that the operation read, each once."""
    constants: tuple[float, ...]
    """The plain numbers that the operation was given, in order: the 2 of `x ** 2`."""
    value: float
    """The forward value."""
    backward: float | None
    """∂L/∂(this scalar), by autograd; None where no gradient reaches it (a target)."""


@dataclass(frozen=True)
class Edge:
    """∂(target)/∂(source) with the target's other inputs held fixed, by autograd of that one operation."""

    source: int
    target: int
    local: float | None
    """None where the source takes no gradient."""


@dataclass(frozen=True)
class ComputationGraph:
    """Nodes in the order of the computation, the last one being the loss L.

    For every node that takes a gradient: backward(node) = Σ over its edges of backward(target) · local.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def loss(self) -> Node:
        return self.nodes[-1]

    def __getitem__(self, name: str) -> Node:
        """The input of this name."""
        return next(n for n in self.nodes if n.name == name)

    def into(self, node: Node) -> Iterator[Edge]:
        """The edges that end at a node."""
        return (e for e in self.edges if e.target == node.index)

    def out_of(self, node: Node) -> Iterator[Edge]:
        """The edges that start at a node."""
        return (e for e in self.edges if e.source == node.index)

    @classmethod
    def record(cls, compute: Callable[..., Tensor], **inputs: float | Tensor) -> ComputationGraph:
        """Run L = compute(**inputs) and its backward pass, and keep every scalar that torch made on the way.

        Parameters
        ----------
        compute:
            A function of scalar tensors that gives one scalar tensor, out of place.
        inputs:
            A number becomes a float64 scalar that takes a gradient; a scalar tensor is used as it is, so that a
            target can be given without one.

        Raises
        ------
        LossError
            If the result is no scalar tensor with a gradient.
        InputError
            If a tensor on the way is no scalar, or an operation works in place.
        """
        leaves = {name: _leaf(name, value) for name, value in inputs.items()}
        with _Recorder(leaves) as recorder:
            loss = compute(**leaves)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise LossError(
                f"a result of {shape}",
                "a scalar tensor that depends on an input with a gradient",
                "ComputationGraph.record(lambda x, w: (w * x).sigmoid(), x=1.0, w=2.0)",
            )
        if id(loss) not in recorder.index:
            raise LossError(
                "a result that was not computed from the inputs by torch",
                "operations on the inputs",
                "ComputationGraph.record(lambda x, w: (w * x).sigmoid(), x=1.0, w=2.0)",
            )
        return recorder.graph(loss)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _leaf(name: str, value: float | Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
    if value.numel() != 1 or not value.is_floating_point():
        raise InputError(
            f"{name} of shape {tuple(value.shape)} and dtype {value.dtype}", "a floating-point scalar", f"{name}=0.5"
        )
    return value


@dataclass
class _Call:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]


class _Recorder(TorchFunctionMode):
    """Keeps each result of an operation on known scalars, together with the call that made it."""

    def __init__(self, leaves: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = list(leaves)
        self.tensors: list[Tensor] = list(leaves.values())
        self.calls: list[_Call | None] = [None] * len(leaves)
        self.index = {id(t): i for i, t in enumerate(self.tensors)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [a for a in _tensors((*args, *kwargs.values())) if id(a) in self.index]
        versions = [t._version for t in given]
        out = func(*args, **kwargs)
        if any(t._version != v for t, v in zip(given, versions, strict=True)):
            raise InputError(
                f"the in-place operation {func.__name__}",
                "operations that make a new tensor",
                f"x = torch.{func.__name__.strip('_')}(x, ...)",
            )
        if isinstance(out, Tensor) and given and id(out) not in self.index:
            self._keep(func, args, kwargs, given, out)
        return out

    def _keep(self, func: Any, args: Any, kwargs: dict[str, Any], given: list[Tensor], out: Tensor) -> None:
        if out.numel() != 1:
            raise InputError(
                f"a tensor of shape {tuple(out.shape)} from {func.__name__}",
                "scalars only",
                "write the sum out, one product at a time",
            )
        inputs = tuple(dict.fromkeys(self.index[id(t)] for t in given))
        self.index[id(out)] = len(self.tensors)
        self.tensors.append(out)
        self.calls.append(_Call(func, args, kwargs, inputs))

    def graph(self, loss: Tensor) -> ComputationGraph:
        """Only what the loss was computed from, renumbered."""
        kept = self._ancestors(self.index[id(loss)])
        new = {old: i for i, old in enumerate(kept)}
        takers = [i for i in kept if self.tensors[i].requires_grad]
        # a scalar before a detach() takes a gradient of its own but gets none from this loss
        found = torch.autograd.grad(loss, [self.tensors[i] for i in takers], retain_graph=True, allow_unused=True)
        grads = dict(zip(takers, found, strict=True))
        nodes = tuple(self._node(i, new, grads.get(i)) for i in kept)
        edges = tuple(Edge(new[s], new[i], local) for i in kept for s, local in self._locals(i))
        return ComputationGraph(nodes, edges)

    def _ancestors(self, index: int) -> list[int]:
        kept, todo = set[int](), [index]
        while todo:
            i = todo.pop()
            kept.add(i)
            call = self.calls[i]
            todo += [j for j in (call.inputs if call else ()) if j not in kept]
        return sorted(kept)

    def _node(self, i: int, new: dict[int, int], grad: Tensor | None) -> Node:
        call, value = self.calls[i], float(self.tensors[i].detach())
        backward = None if grad is None else float(grad)
        if call is None:
            return Node(new[i], "input", self.names[i], (), (), value, backward)
        constants = tuple(
            float(a)
            for a in (*call.args, *call.kwargs.values())
            if isinstance(a, (int, float)) and not isinstance(a, bool)
        )
        operation = call.function.__name__.strip("_")
        return Node(new[i], operation, "", tuple(new[j] for j in call.inputs), constants, value, backward)

    def _locals(self, i: int) -> Iterator[tuple[int, float | None]]:
        """∂(result)/∂(each input), by running the one operation again on detached copies of its inputs."""
        call = self.calls[i]
        if call is None:
            return
        copies = {
            j: self.tensors[j].detach().clone().requires_grad_(self.tensors[j].requires_grad) for j in call.inputs
        }

        def copy(a: Any) -> Any:
            return copies[self.index[id(a)]] if isinstance(a, Tensor) and id(a) in self.index else a

        out = call.function(*map(copy, call.args), **{k: copy(v) for k, v in call.kwargs.items()})
        takers = [j for j in call.inputs if copies[j].requires_grad]
        grads = torch.autograd.grad(out, [copies[j] for j in takers]) if takers and out.requires_grad else ()
        found = dict(zip(takers, map(float, grads), strict=True)) if grads else {}
        for j in call.inputs:
            yield j, found.get(j)


def sigmoid_chain(layers: int = 3, x: float = 1.0, y: float = 1.0) -> ComputationGraph:
    """L = (aₙ − y)², aₖ = σ(wₖ aₖ₋₁ + bₖ), a₀ = x: the smallest network in which σ′ ≤ ¼ is paid once a layer."""
    weights = {f"w{k}": (0.8, -1.2, 1.5)[(k - 1) % 3] for k in range(1, layers + 1)}
    biases = {f"b{k}": (0.1, -0.2, 0.05)[(k - 1) % 3] for k in range(1, layers + 1)}

    def compute(x: Tensor, y: Tensor, **p: Tensor) -> Tensor:
        a = x
        for k in range(1, layers + 1):
            a = torch.sigmoid(p[f"w{k}"] * a + p[f"b{k}"])
        return (a - y) ** 2

    target = torch.tensor(y, dtype=torch.float64)
    return ComputationGraph.record(compute, x=x, y=target, **weights, **biases)


def tanh_network(x1: float = 0.5, x2: float = -1.0, y: float = 1.0) -> ComputationGraph:
    """L = (o − y)², o = v₁h₁ + v₂h₂ + c, hⱼ = tanh(uⱼ₁x₁ + uⱼ₂x₂ + bⱼ): two inputs, two hidden units, one output."""
    u = {"u11": 0.6, "u12": -0.4, "u21": 0.3, "u22": 0.9}
    rest = {"b1": 0.1, "b2": -0.2, "v1": 0.7, "v2": -1.1, "c": 0.05}

    def compute(x1: Tensor, x2: Tensor, y: Tensor, **p: Tensor) -> Tensor:
        hidden = [torch.tanh(p[f"u{j}1"] * x1 + p[f"u{j}2"] * x2 + p[f"b{j}"]) for j in (1, 2)]
        return (p["v1"] * hidden[0] + p["v2"] * hidden[1] + p["c"] - y) ** 2

    return ComputationGraph.record(compute, x1=x1, x2=x2, y=torch.tensor(y, dtype=torch.float64), **u, **rest)
