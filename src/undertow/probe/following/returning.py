"""The backward pass of a forward pass that followed a plan: listens at the planned nodes, and gives the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.graph import Node

from undertow.native import Panel, Readings, kernels
from undertow.native.statistics import reader
from undertow.probe.following.listening import Handed, Hook
from undertow.probe.following.survey import Graph, Part
from undertow.probe.following.table import Slopes, Table
from undertow.probe.tracing.entries import Passage, Stop, entries, merged
from undertow.probe.tracing.inputs import Inputs
from undertow.record import Entry, Ledger, NotObserved, Reading

if TYPE_CHECKING:
    from undertow.probe.following.replay import Replay

Gradients = tuple[Tensor | None, ...]
_task: Callable[[], int] = torch._C._current_graph_task_id  # pyright: ignore[reportAttributeAccessIssue]


class Returning:
    """Takes the place of an `Account`, and gives the same ledger, built when it is first looked at."""

    def __init__(self, replay: Replay, slopes: Slopes, nodes: Sequence[Node]) -> None:
        plan = replay.plan
        self.trace = Followed(plan.not_observed, replay.given, slopes)
        self.light = replay.light
        """Whether there are but the units to tell of, and no ledger."""
        self.differentiated = False
        self._graph, self._whole, self._table = plan.graph, plan.whole, plan.table
        self.fail = replay.fail
        self._panel = Panel(self._table.backward_rows)
        self._pools: dict[Handed, list[Tensor]] = defaultdict(list)
        self._poured: set[Part] = set()
        self._current: int | None = None
        self._sealed = False
        self._came = False
        self._seconds = replay.seconds
        self._ears: Any = None
        if replay.light:
            self._handles = [nodes[0].register_prehook(self._arrived)]
            return
        if reader is not None:
            places, slots = plan.ears
            self._ears = kernels.module.Ears(reader, _task, ref(self))
            self._ears.point_at(self._panel.address)
            self._ears.listen([nodes[place] for place in places], slots, carrier())
        hooks = plan.hooks if self._ears is None else plan.hooks_besides
        self._handles = [handle for hook in hooks for handle in self._listen(nodes[hook.place], hook)]

    # ------------------------------------------------------------ during the backward pass

    def seal(self, task: int | None) -> bool:
        """As `Account.seal`."""
        if self._sealed or not self.complete or (task is not None and task != self._current):
            return False
        self._sealed = True
        return True

    def _arrived(self, _gradients: Gradients) -> None:
        if self.listening():
            self._came = True

    def listening(self) -> bool:
        """Whether the backward pass that is running is the one to tell of."""
        task = _task()
        if task != self._current and not self._sealed:
            if self._current is not None:
                self.differentiated = True
                self._panel = Panel(self._table.backward_rows)
                self._pools.clear()
                self._poured.clear()
            self._current, self._came = task, False
            if self._ears is not None:
                self._ears.task, self._ears.came = task, False
                self._ears.point_at(self._panel.address)
        return task == self._current

    def put(self, slot: int, gradient: Tensor) -> None:
        """What a native hook does not read."""
        self._panel.put(slot, gradient)

    def _listen(self, node: Node, hook: Hook) -> list[Any]:
        own = [(output, self._table.own[part]) for output, part in hook.own if output or self._ears is None]
        pools, shares = hook.pools, bool(hook.handed or hook.pooled)

        def before(gradients: Gradients) -> None:
            start = perf_counter()
            try:
                if self._current == _task() or self.listening():
                    self._read(own, gradients)
                    for part in pools:  # what came from later stops is complete before the node runs
                        self._pour(part)
            except Exception as error:
                self.fail(error)
            self._seconds += perf_counter() - start

        def after(leaving: Gradients, _incoming: Gradients) -> None:
            start = perf_counter()
            try:
                if self._current == _task() or self.listening():
                    self._share(hook, leaving)
            except Exception as error:
                self.fail(error)
            self._seconds += perf_counter() - start

        handles = [node.register_prehook(before)] if own or pools else []
        return [*handles, node.register_hook(after)] if shares else handles

    def _read(self, wanted: list[tuple[int, int]], gradients: Gradients) -> None:
        """Of a second pass through a retained graph nothing is read: a slot keeps what is in it."""
        for output, slot in wanted:
            gradient = gradients[output] if output < len(gradients) else None
            if gradient is not None:
                self._panel.put(slot, gradient)
                self._came = True

    def _share(self, hook: Hook, gradients: Gradients) -> None:
        for index, handed in hook.handed:
            gradient = gradients[index]
            if gradient is not None:
                self._panel.put(self._table.handed[handed], gradient)
        for index, handed in hook.pooled:
            gradient = gradients[index]
            if gradient is not None and handed[0] not in self._poured:
                self._pools[handed].append(gradient.detach())

    def _pour(self, part: Part) -> None:
        self._poured.add(part)
        for handed in [handed for handed in self._pools if handed[0] == part]:
            shares = self._pools.pop(handed)
            total = shares[0] if len(shares) == 1 else torch.stack(shares).sum(0)
            self._panel.put(self._table.handed[handed], total)

    # ------------------------------------------------------------ after it

    @property
    def seconds(self) -> float:
        """Spent in the hooks of the pass, forward and back, which no guard times."""
        return self._seconds + (self._ears.seconds if self._ears is not None else 0.0)

    @property
    def complete(self) -> bool:
        """Whether a backward pass has gone through."""
        return self._came or (self._ears is not None and self._ears.came)

    def ledger(self, step: int = 0) -> Ledger:
        """As `Account.ledger`; its entries are made at the first look."""
        numbers = Numbers(self._table, self.trace.alive, self._panel.close())
        return Ledger(_Deferred(self._graph, self._whole, numbers), step)

    def close(self) -> None:
        """Takes the hooks off the graph."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pools.clear()
        if self._ears is not None:
            self._ears.close()


class Numbers(NamedTuple):
    """What was measured in a pass."""

    table: Table
    slopes: Slopes
    """With the readings of the forward pass."""
    backward: Readings


class _Deferred(NamedTuple):
    graph: Graph
    whole: frozenset[Handed]
    numbers: Numbers

    def __call__(self) -> tuple[Entry, ...]:
        return settled(self.graph, self.whole, self.numbers)


def settled(graph: Graph, whole: frozenset[Handed], numbers: Numbers) -> tuple[Entry, ...]:
    """The entries of a planned graph with the numbers of one pass."""
    table, slopes, backward = numbers

    def reading(readings: Readings, slots: Sequence[int]) -> Reading:
        return merged([Reading(*readings[slot]) for slot in slots])

    own = {part: slot for part, slot in table.own.items() if backward.has(slot)}
    stops: list[Stop] = []
    for i, planned in enumerate(graph.stops):
        passage = None
        if planned.site is not None:
            measured = slopes.measured(i)
            passage = Passage(planned.site, reading(slopes.readings, table.forward[i]), measured and measured.slope)
        slots = [own[i, part] for part in range(planned.parts) if (i, part) in own]
        stops.append(Stop((), passage, reading(backward, slots) if slots else None, depth=planned.depth))
    received: dict[tuple[int, int], list[int]] = defaultdict(list)
    for (part, later), slot in table.handed.items():
        if backward.has(slot):
            received[part[0], later].append(slot)
    for part, later in whole:
        if part in own:
            received[part[0], later].append(own[part])
    for (earlier, later), slots in received.items():
        stops[earlier].received[stops[later]] = reading(backward, slots)
    for stop, planned in zip(stops, graph.stops, strict=True):
        stop.before = [stops[i] for i in planned.before]
    return entries(stop for stop in stops if stop.operation is not None)


class Followed:
    """What a `Trace` tells of its pass."""

    def __init__(self, not_observed: Mapping[str, NotObserved], given: Inputs, alive: Slopes) -> None:
        self.samples, self.inputs = given.samples, given.reading
        self.not_observed, self.alive = not_observed, alive


@cache
def carrier() -> Tensor | None:
    """A tensor whose hooks a node takes over, which no public name of torch does; None where a try shows that it fails.

    Hooks that a user puts on a tensor after the forward pass run after those; public ones on nodes run after all.
    """
    heard: list[Tensor] = []
    found = torch.empty(0)
    try:
        with torch.enable_grad():
            x = torch.zeros(1, requires_grad=True)
            y = x.exp()
            found._backward_hooks = {0: heard.append}  # pyright: ignore[reportAttributeAccessIssue]
            y.grad_fn._register_hook_dict(found)  # type: ignore[union-attr]
            found._backward_hooks = None
            torch.autograd.grad(y, x)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return found if len(heard) == 1 else None
