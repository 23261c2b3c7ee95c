"""What a traced forward pass did, call by call, so that later ones can be followed without looking at everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function
from torch.utils._pytree import tree_leaves

from undertow.activations import applied
from undertow.foundation.calls import seeing
from undertow.probe.tracing.entries import Edge
from undertow.probe.tracing.trace import Guard, Operation, Trace
from undertow.record.operations import PLUMBING, operation_name

Fixed = tuple[tuple[int | str, nn.Parameter], ...]


@dataclass(eq=False)
class Call:
    """A torch call, other than plumbing."""

    function: Any
    fixed: Fixed
    """Its parameters, by position or keyword: they tell one expert or layer from another."""
    operation: Operation | None = None
    """What it was recorded as."""
    source_of: Operation | None = None
    """The activation whose input is its argument `argument`."""
    argument: int = 0


@dataclass(eq=False)
class ModuleCall:
    """A call of a module whose output is that of its one operation."""

    module: nn.Module
    operation: Operation
    reads: Operation | None
    """The operation whose only output it is given, and leaves as it is."""
    given_source: bool
    """An activation is given what it is a function of."""
    in_place: bool


@dataclass(eq=False)
class _Entered:
    module: nn.Module
    operations: int
    given: Edge | None
    version: int


@dataclass(eq=False)
class Script:
    """Stands beside a trace, and notes which calls made its operations."""

    trace: Trace
    guard: Guard = lambda call: call
    calls: list[Call] = field(default_factory=list)
    modules: list[ModuleCall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._readers: dict[Edge, tuple[Call, int]] = {}
        self._stack: list[_Entered] = []

    @contextmanager
    def watching(self) -> Iterator[Script]:
        """To be entered inside the trace's own `watching`, so that the trace knows a call before the script does."""
        with seeing(self.call, self.guard(self._enter), self.guard(self._leave)):
            yield self

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not counts(function) or self.trace.busy or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        noted = self.guard(self._note)(function, args, kwargs)
        before = self._last
        output = passed_on(function, args, kwargs)
        if noted is not None and self._last is not before:
            self.guard(self._recorded)(*noted)
        return output

    @property
    def _last(self) -> Operation | None:
        return self.trace.operations[-1] if self.trace.operations else None

    def _note(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call, Edge | None]:
        given = [*enumerate(args), *kwargs.items()]
        call = Call(function, tuple((k, v) for k, v in given if isinstance(v, nn.Parameter)))
        self.calls.append(call)
        edges = [_edge(v) if isinstance(v, Tensor) else None for v in args]
        for position, edge in enumerate(edges):
            if edge is not None and edge.node is not None:
                self._readers.setdefault(edge, (call, position))
        return call, edges[0] if edges else None

    def _recorded(self, call: Call, given: Edge | None) -> None:
        """The call made the last operation; an activation in several calls has its input from an earlier one."""
        operation = call.operation = self.trace.operations[-1]
        if operation.measured is not None and operation.source is not None:
            reader, position = (call, 0) if operation.source == given else self._readers[operation.source]
            reader.source_of, reader.argument = operation, position

    # ------------------------------------------------------------ the same by modules

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0] if args and isinstance(args[0], Tensor) else None
        given, version = (None, 0) if x is None else (_edge(x), x._version)
        self._stack.append(_Entered(module, len(self.trace.operations), given, version))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not self._stack or self._stack[-1].module is not module:
            return
        entered = self._stack.pop()
        made = self.trace.operations[entered.operations :]
        if len(made) != 1 or made[0].site.functional or any(True for _ in module.children()):
            return
        operation = made[0]
        if tuple(_edge(t) for t in tree_leaves(output) if isinstance(t, Tensor)) != operation.edges:
            return
        given = entered.given
        kept = given is not None and _edge(args[0]) == given and args[0]._version == entered.version
        reads = self.trace.by_edge.get(given) if given is not None and kept else None
        if reads is not None and len(reads.edges) > 1:
            reads = None
        in_place = given is not None and not kept
        self.modules.append(ModuleCall(module, operation, reads, operation.source in (None, given), in_place))


def _edge(tensor: Tensor) -> Edge:
    return Edge(tensor.grad_fn, tensor.output_nr)


def passed_on(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a call so that the trace, another mode, sees it: a function in Python has to be asked to."""
    if function is applied:
        return handle_torch_function(applied, args[:1], *args, **kwargs)
    return function(*args, **kwargs)


_counts: dict[str, bool] = {}


def counts(function: Any) -> bool:
    """Whether a call of this function is part of a script: plumbing is not."""
    name = getattr(function, "__name__", "")
    found = _counts.get(name)
    if found is None:
        found = _counts[name] = function is applied or operation_name(function) not in PLUMBING
    return found
