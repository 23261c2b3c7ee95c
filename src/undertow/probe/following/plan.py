"""What a traced pass has in common with later ones of the same model: its calls and its graph, no tensor, no number.

A later pass that makes the same calls and has the same graph has the same ledger, up to its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import nn

from undertow.activations import Pointwise
from undertow.probe.following.listening import Hook, hooks_of
from undertow.probe.following.script import Call, Fixed, ModuleCall, Script
from undertow.probe.following.survey import Graph, Part, survey, whole_of
from undertow.probe.tracing.account import Account
from undertow.probe.tracing.trace import Operation
from undertow.record import NotObserved


class PlannedCall(NamedTuple):
    """A torch call; operations by their number."""

    function: Any
    fixed: Fixed
    operation: int | None
    source_of: int | None
    argument: int


class PlannedModule(NamedTuple):
    """The call of a module that is one operation."""

    module: nn.Module
    operation: int
    reads: int | None
    """The operation whose output it is given, where that is measured here and not at its own module."""
    measured: bool
    in_place: bool
    covered: bool
    """Its output is measured by the module that reads it."""
    settings: tuple[tuple[str, float], ...]
    """The module's numbers, which make the activation what it is."""


class Activity(NamedTuple):
    """How the slope of an activation is measured."""

    activation: Pointwise
    channels_first: bool


@dataclass(eq=False)
class Plan:
    """One way in which a model runs."""

    calls: tuple[PlannedCall, ...]
    modules: tuple[PlannedModule, ...] | None
    """All operations as calls of modules: then no torch call need be looked at.  None where one is none."""
    opaque: tuple[PlannedModule, ...]
    """Activation modules whose inside is not looked at."""
    graph: Graph
    activities: tuple[Activity | None, ...]
    """By operation."""
    not_observed: dict[str, NotObserved]
    early_inputs: bool
    """The model's own arguments hold its input; else its modules are asked until one has it."""
    whole: frozenset[tuple[Part, int]] = frozenset()
    """Gradients, by part and later stop, that were all that the part received, when last looked at."""

    @cached_property
    def signature(self) -> Any:
        """Equal for two plans of the same way to run."""
        calls = tuple((c.function, tuple((k, id(p)) for k, p in c.fixed), *c[2:]) for c in self.calls)
        return calls, self.modules, self.opaque, self.graph

    @cached_property
    def hooks(self) -> tuple[Hook, ...]:
        """What to listen to in the backward pass."""
        return hooks_of(self.graph, self.whole)


def plan_of(account: Account, script: Script) -> Plan | None:
    """The plan of a pass that was just traced; None where it can't be followed for less than a trace."""
    trace = account.trace
    numbers = {id(o): i for i, o in enumerate(trace.operations)}
    graph = survey(account)
    called = {id(c.operation) for c in script.calls}
    opaque = [m for m in script.modules if id(m.operation) not in called]
    if graph is None or len(called & set(numbers)) + len(opaque) < len(numbers):
        return None
    by_modules = len(script.modules) == len(numbers) and all(map(_tells_all, script.modules))
    return Plan(
        tuple(_call(c, numbers) for c in script.calls),
        _pairs(script.modules, numbers) if by_modules else None,
        tuple(_module(m, numbers) for m in opaque),
        graph,
        tuple(o.measured and Activity(o.measured.activation, o.measured.channels_first) for o in trace.operations),
        dict(trace.not_observed),
        trace.early_inputs,
        whole_of(account),
    )


def _call(call: Call, numbers: dict[int, int]) -> PlannedCall:
    operation, source_of = numbers.get(id(call.operation)), numbers.get(id(call.source_of))
    return PlannedCall(call.function, call.fixed, operation, source_of, call.argument)


def _module(
    call: ModuleCall, numbers: dict[int, int], reads: Operation | None = None, covered: bool = False
) -> PlannedModule:
    measured = call.operation.measured is not None
    settings = tuple((k, v) for k, v in vars(call.module).items() if measured and type(v) in (int, float))
    operation, read = numbers[id(call.operation)], numbers.get(id(reads))
    return PlannedModule(call.module, operation, read, measured, call.in_place, covered, settings)


def _tells_all(call: ModuleCall) -> bool:
    """Whether what goes into the module and comes out of it is all there is to its operation."""
    measured = call.operation.measured
    known = measured is None or (call.given_source and not measured.activation.tensors)
    return known and len(call.operation.edges) == 1


def _pairs(calls: list[ModuleCall], numbers: dict[int, int]) -> tuple[PlannedModule, ...]:
    """Half of the calls will do: one module's output is the next one's input, and measured there."""
    by_operation = {id(call.operation): call for call in calls}
    reads: dict[int, Operation] = {}
    paired: set[int] = set()
    for call in calls:
        earlier = by_operation.get(id(call.reads))
        if earlier is None or paired & {id(call), id(earlier)}:
            continue
        if earlier.operation.measured is None or earlier.in_place:
            reads[id(call)] = earlier.operation
            paired |= {id(call), id(earlier)}
    covered = {id(operation) for operation in reads.values()}
    return tuple(_module(call, numbers, reads.get(id(call)), id(call.operation) in covered) for call in calls)
