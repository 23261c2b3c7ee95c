"""From a trace to a ledger: hooks on the nodes of the autograd graph measure each backward value once, at its node.

A *stop* is a tensor where the account is taken: the output of an observed operation, or a junction, a tensor made by
plumbing (`x.view(...)`) that several operations read.  Between two stops the graph is a tree, so the gradient that a
stop hands to an earlier one (its *contribution*) is what flows along one edge.  Hooks on nodes leave the tensors, their
versions and their in-place use alone, which hooks on modules do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves

from undertow.native import statistics
from undertow.probe.tracing.entries import Edge, Stop, entries, merged
from undertow.probe.tracing.trace import Trace
from undertow.record import Ledger, NotObserved, Reading

T = TypeVar("T")


CUSTOM = {
    "": "custom autograd.Function: only its backward pass is seen, its factor is counted with the next site",
    "CheckpointFunction": "reentrant checkpoint: what it runs is computed in the backward pass, out of sight; with "
    "use_reentrant=False it is seen",
}
"""Why the inside of an autograd.Function is not observed, by its name."""


class Account:
    """Hooks a finished forward pass, listens to its backward pass, and gives its ledger."""

    light = False
    """A `Returning` may be: then it has no ledger."""
    seconds = 0.0
    """Of a `Returning`, those that no guard has timed."""

    def __init__(self, trace: Trace, output: Any) -> None:
        self.trace = trace
        self.differentiated = False
        """Whether the user took a gradient through this pass (autograd.grad) before the loss's backward pass came."""
        self._task: int | None = None
        self._sealed = False
        self._handles: list[Any] = []
        self._pending: dict[Edge, list[tuple[Stop, Tensor]]] = defaultdict(list)
        self._parts: dict[Stop, dict[Edge, Reading]] = defaultdict(dict)
        self.stops: dict[Edge, Stop] = {}
        self.whole: set[tuple[Edge, Stop]] = set()
        """Gradients that one later stop handed over as all that a stop received."""
        self.order: list[Stop] = [Stop(o.edges, o) for o in trace.operations]
        for stop in self.order:
            self.stops.update(dict.fromkeys(stop.edges, stop))
        roots = [Edge(t.grad_fn, t.output_nr) for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn]
        self._junctions(roots)
        self._link()

    # ------------------------------------------------------------ before the backward pass

    def _junctions(self, roots: Iterable[Edge]) -> None:
        """Adds a stop for every plumbed tensor through which more than one stop, or a stop and the loss, hands over.

        Nodes come readers first, so each can be told whose it is: the one stop that it hands back from.  A fused layer
        has thousands of nodes that are all its own, and needs none.
        """
        owner: dict[Node, Stop | None] = {edge.node: stop for edge, stop in self.stops.items()}
        readers: dict[Node, set[Stop | None]] = defaultdict(set)
        read: dict[Node, set[Edge]] = defaultdict(set)
        for edge in roots:
            readers[edge.node].add(None)
            read[edge.node].add(edge)
        nodes = _readers_first([edge.node for edge in [*roots, *self.stops]])
        for node in nodes:
            if node not in owner:
                found = readers[node]
                if len(found) > 1 and not _is_leaf(node):
                    stop = Stop(tuple(sorted(read[node], key=lambda edge: edge.output)))
                    self.stops.update(dict.fromkeys(stop.edges, stop))
                    owner[node] = stop
                else:
                    owner[node] = next(iter(found), None)
            for edge in _inputs(node):
                readers[edge.node].add(owner[node])
                read[edge.node].add(edge)
        self._note_custom(set(nodes))

    def _note_custom(self, nodes: set[Node]) -> None:
        inside = {e.node for e in self.stops}
        for node in nodes - inside:
            if hasattr(node, "saved_tensors") and _is_the_users(type(node)):
                name = type(node).__name__.removesuffix("Backward")
                self.trace.not_observed.setdefault(name, NotObserved(name, CUSTOM.get(name, CUSTOM[""])))

    def _link(self) -> None:
        """Finds the stops before each stop and puts a hook on every node that hands a gradient to one."""
        readers: dict[Node, list[tuple[int, Edge, Stop]]] = defaultdict(list)
        for stop in dict.fromkeys(self.stops.values()):
            todo, seen = [e.node for e in stop.edges], set()
            while todo:
                node = todo.pop()
                if node in seen:
                    continue
                seen.add(node)
                for index, edge in enumerate(edges_of(node)):
                    if edge in self.stops:
                        earlier = self.stops[edge]
                        if earlier is not stop:
                            readers[node].append((index, edge, stop))
                            stop.before.append(earlier)
                    elif edge.node is not None:
                        todo.append(edge.node)
        guard = self.trace.guard
        self._handles += [node.register_hook(guard(self._on_reader(found))) for node, found in readers.items()]
        nodes: dict[Node, list[Edge]] = defaultdict(list)
        for edge in self.stops:
            nodes[edge.node].append(edge)
        self._handles += [node.register_prehook(guard(self._on_stop(edges))) for node, edges in nodes.items()]
        self._measure_depths()

    def _measure_depths(self) -> None:
        """The longest way from a first site."""
        for stop in earlier_first(self.order):
            stop.depth = max((b.depth + (b.operation is not None) for b in stop.before), default=0)

    # ------------------------------------------------------------ during the backward pass

    def seal(self, task: int | None) -> bool:
        """Keeps what the backward pass `task` has left, whatever comes; whether it has gone through, and as the first.

        Without a seal the last pass counts: a gradient penalty's own comes before that of the loss.
        None stands for whichever was the last.
        """
        if self._sealed or not self.complete or (task is not None and task != self._task):
            return False
        self._sealed = True
        return True

    def _listening(self) -> bool:
        """Whether the backward pass that is running is the one to tell of."""
        task = torch._C._current_graph_task_id()
        if task != self._task and not self._sealed:
            self.differentiated = self._task is not None
            self._task = task
            self._parts.clear()
            self._pending.clear()
            self.whole.clear()
            for stop in dict.fromkeys(self.stops.values()):
                stop.received.clear()
        return task == self._task

    def _on_reader(self, found: list[tuple[int, Edge, Stop]]) -> Any:
        def hook(inputs: tuple[Tensor | None, ...], _outputs: Any) -> None:
            if not self._listening():
                return
            for index, edge, stop in found:
                gradient = inputs[index] if index < len(inputs) else None
                if gradient is not None:
                    self._pending[edge].append((stop, gradient))

        return hook

    def _on_stop(self, edges: list[Edge]) -> Any:
        def hook(gradients: tuple[Tensor | None, ...]) -> None:
            if not self._listening():
                return
            for edge in edges:
                gradient = gradients[edge.output]
                stop, handed = self.stops[edge], self._pending.pop(edge, [])
                if gradient is None or edge in self._parts[stop]:  # a second pass through a retained graph
                    continue
                total = _reading(gradient)
                self._parts[stop][edge] = total
                self._receive(edge, gradient, total, handed)

        return hook

    def _receive(self, edge: Edge, gradient: Tensor, total: Reading, handed: list[tuple[Stop, Tensor]]) -> None:
        by_stop: dict[Stop, list[Tensor]] = defaultdict(list)
        for later, part in handed:
            by_stop[later].append(part)
        received = self.stops[edge].received
        for later, parts in by_stop.items():
            part = parts[0] if len(parts) == 1 else torch.stack([p.detach() for p in parts]).sum(0)
            same = part.data_ptr() == gradient.data_ptr() and part.shape == gradient.shape
            if same:
                self.whole.add((edge, later))
            reading = total if same else _reading(part)
            received[later] = merged([received[later], reading]) if later in received else reading

    # ------------------------------------------------------------ after it

    @property
    def complete(self) -> bool:
        """Whether a backward pass has gone through."""
        return any(self._parts.values())

    def ledger(self, step: int = 0) -> Ledger:
        """The entries of all operations that a gradient reached."""
        for stop, parts in self._parts.items():
            stop.backward = merged(list(parts.values())) if parts else None
        return Ledger(entries(self.order), step)

    def close(self) -> None:
        """Takes the hooks off the graph."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pending.clear()


def _reading(gradient: Tensor) -> Reading:
    """Of a complex gradient, that of its real and imaginary parts."""
    return Reading(*statistics(torch.view_as_real(gradient) if gradient.is_complex() else gradient))


def _readers_first(starts: Iterable[Node]) -> list[Node]:
    """All nodes behind these, each after every node that reads it; no recursion, for a graph may be long."""
    return _after_all(starts, lambda node: [edge.node for edge in _inputs(node)])[::-1]


def earlier_first(stops: Iterable[Stop]) -> list[Stop]:
    return _after_all(stops, lambda stop: stop.before)


def _after_all(starts: Iterable[T], before: Callable[[T], list[T]]) -> list[T]:
    """Everything reachable, each after what is before it."""
    done: dict[T, None] = {}
    entered: set[T] = set()
    todo = list(starts)
    while todo:
        one = todo[-1]
        if one in entered:
            done.setdefault(todo.pop())
        else:
            entered.add(one)
            todo += [b for b in before(one) if b not in entered]
    return list(done)


def edges_of(node: Node) -> list[Edge]:
    return [Edge(*pair) for pair in node.next_functions]


def _is_the_users(kind: type) -> bool:
    """Whether a node's class comes from an autograd.Function that torch.distributed has not put there."""
    function = getattr(kind, "_forward_cls", None)
    return function is not None and not function.__module__.startswith("torch.distributed.")


def _inputs(node: Node) -> list[Edge]:
    return [edge for edge in edges_of(node) if edge.node is not None]


def _is_leaf(node: Node) -> bool:
    return hasattr(node, "variable")
