"""What a traced pass has in common with later ones of the same model: its calls and its graph, no tensor, no number.

A later pass that makes the same calls and has the same graph has the same ledger, up to its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor, nn

from undertow.native import kernels
from undertow.native.statistics import reader
from undertow.probe.following.listening import Hook, hooks_of
from undertow.probe.following.script import Call, Fixed, ModuleCall, Script
from undertow.probe.following.survey import Graph, Part, Ways, survey, whole_of
from undertow.probe.following.table import Table
from undertow.probe.tracing.account import Account
from undertow.probe.tracing.slopes import Measured
from undertow.record import NotObserved
from undertow.record.names import own_class

WAYS = ("plain", "rectified", "slope", "other")
"""What a native hook does at the end of a module, by number: "other" is left to Python."""


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
    source: int | None
    """The operation whose output it is given: then nothing lies between the two in the graph."""
    early: bool
    """Its slope is measured before it runs, for it overwrites its input."""
    settings: tuple[tuple[str, float], ...]
    """The module's numbers, which make the activation what it is."""


@dataclass(eq=False)
class Plan:
    """One way in which a model runs."""

    calls: tuple[PlannedCall, ...]
    modules: tuple[PlannedModule, ...] | None
    """All operations as calls of modules: then no torch call need be looked at.  None where one is none."""
    opaque: tuple[PlannedModule, ...]
    """Activation modules whose inside is not looked at."""
    graph: Graph
    measured: tuple[Measured | None, ...]
    """By operation, what the traced pass measured of its slope."""
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

    @cached_property
    def ears(self) -> tuple[list[int], list[int]]:
        """The places whose gradient a native hook reads, and its slots: of nodes with one output, for all they get."""
        own = [(hook.place, self.table.own[part]) for hook in self.hooks for output, part in hook.own if not output]
        return [place for place, _ in own], [slot for _, slot in own]

    @cached_property
    def hooks_besides(self) -> tuple[Hook, ...]:
        """Those with something that no native hook reads."""
        return tuple(h for h in self.hooks if h.handed or h.pooled or h.pools or any(output for output, _ in h.own))

    @cached_property
    def steps(self) -> Any:
        """What a native hook on modules follows; None where there are no kernels, or where torch calls are followed."""
        if reader is None or self.modules is None:
            return None
        steps = kernels.module.Steps(reader, Tensor)
        for planned in self.modules:
            slots, activity = self.table.forward[planned.operation], self.table.activities[planned.operation]
            way, slope, first, units, channels_first, derivative = "plain", 0, 0, 0, False, None
            if len(slots) != 1 or (planned.settings and not planned.early):
                way = "other"
            elif activity is not None and not planned.early:
                _, channels_first, units, slope, first = activity
                derivative = activity.way.derivative
                way = "rectified" if activity.way.rectified else "slope" if derivative is not None else "other"
            source = -1 if planned.source is None else planned.source
            given = (planned.operation, slots.start, slope, first, units, channels_first, derivative)
            steps.add(planned.module, source, WAYS.index(way), *given)
        return steps

    @cached_property
    def table(self) -> Table:
        """Where the numbers of its passes lie."""
        return Table(self.graph, self.hooks, self.measured)

    @cached_property
    def ways(self) -> Ways:
        """Those that the calls of modules leave open."""
        place = self.graph.parts
        told = {place[m.operation, 0][0]: place[m.source, 0][0] for m in self.modules or () if m.source is not None}
        left = (
            (at, tuple(w for w in ways if w.output is None or told.get(at) != w.place)) for at, ways in self.graph.ways
        )
        return tuple((at, ways) for at, ways in left if ways)


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
        tuple(_module(m, numbers) for m in script.modules) if by_modules else None,
        tuple(_module(m, numbers) for m in opaque),
        graph,
        tuple(o.measured for o in trace.operations),
        dict(trace.not_observed),
        trace.early_inputs,
        whole_of(account),
    )


def _call(call: Call, numbers: dict[int, int]) -> PlannedCall:
    operation, source_of = numbers.get(id(call.operation)), numbers.get(id(call.source_of))
    return PlannedCall(call.function, call.fixed, operation, source_of, call.argument)


def _module(call: ModuleCall, numbers: dict[int, int]) -> PlannedModule:
    measured = call.operation.measured
    settings = tuple((k, v) for k, v in vars(call.module).items() if measured and type(v) in (int, float))
    source = numbers.get(id(call.reads)) if own_class(call.module).__module__.startswith("torch.nn") else None
    early = measured is not None and call.in_place and not measured.way.rectified
    return PlannedModule(call.module, numbers[id(call.operation)], source, early, settings)


def _tells_all(call: ModuleCall) -> bool:
    """Whether what goes into the module and comes out of it is all there is to its operation."""
    measured = call.operation.measured
    known = measured is None or (call.given_source and not measured.way.activation.tensors)
    return known and len(call.operation.edges) == 1
