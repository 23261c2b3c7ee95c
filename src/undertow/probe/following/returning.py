"""The backward pass of a forward pass that followed a plan: listens at the planned nodes, and gives the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from undertow.probe.following.listening import Handed, Hook
from undertow.probe.following.survey import Graph, Part
from undertow.probe.tracing.entries import Passage, Stop, entries, merged
from undertow.probe.tracing.slopes import Measured
from undertow.record import Entry, Ledger, NotObserved, Reading

if TYPE_CHECKING:
    from undertow.probe.following.replay import Replay

Gradients = tuple[Tensor | None, ...]
_task: Callable[[], int] = torch._C._current_graph_task_id  # pyright: ignore[reportAttributeAccessIssue]


class Returning:
    """Takes the place of an `Account`, and gives the same ledger, built when it is first looked at."""

    def __init__(self, replay: Replay, nodes: Sequence[Node], hooks: Sequence[Hook]) -> None:
        self.trace = Followed(replay)
        self.light = replay.light
        """Whether there are but the units to tell of, and no ledger."""
        self.differentiated = False
        self._replay = replay
        self._fail = replay.fail
        self._add = replay.panel.add
        self._own: dict[Part, int] = {}
        self._handed: dict[Handed, int] = {}
        self._pools: dict[Handed, list[Tensor]] = defaultdict(list)
        self._current: int | None = None
        self._sealed = False
        self._came = False
        pooled = {handed for hook in hooks for _, handed in hook.pooled}
        self._pooled = {part: [h for h in pooled if h[0] == part] for part, _ in pooled}
        if replay.light:
            self._handles = [nodes[0].register_prehook(self._arrived)]
        else:
            self._handles = [self._listen(nodes[hook.place], hook) for hook in hooks]

    # ------------------------------------------------------------ during the backward pass

    def seal(self, task: int | None) -> bool:
        """As `Account.seal`."""
        if self._sealed or not self.complete or (task is not None and task != self._current):
            return False
        self._sealed = True
        return True

    def _arrived(self, _gradients: Gradients) -> None:
        if self._listening():
            self._came = True

    def _listening(self) -> bool:
        task = _task()
        if task != self._current and not self._sealed:
            self.differentiated = self._current is not None
            self._current, self._came = task, False
            self._own.clear()
            self._handed.clear()
            self._pools.clear()
        return task == self._current

    def _listen(self, node: Node, hook: Hook) -> Any:
        own, earlier, pools, shares = hook.own, hook.earlier, hook.pools, bool(hook.handed or hook.pooled)

        def before(gradients: Gradients) -> None:
            try:
                if self._current == _task() or self._listening():
                    self._read(own, gradients)
                    for part in pools:
                        self._pour(part)
            except Exception as error:
                self._fail(error)

        def after(leaving: Gradients, incoming: Gradients) -> None:
            try:
                if self._current == _task() or self._listening():
                    self._read(own, incoming)
                    self._read(earlier, leaving)
                    if shares:
                        self._share(hook, leaving)
            except Exception as error:
                self._fail(error)

        if not (earlier or shares):
            return node.register_prehook(before)
        if pools:  # what came from later stops is complete before the node runs
            return _Both((node.register_prehook(before), node.register_hook(after)))
        return node.register_hook(after)

    def _read(self, wanted: list[tuple[int, Part]], gradients: Gradients) -> None:
        for index, part in wanted:
            gradient = gradients[index] if index < len(gradients) else None
            if gradient is not None and part not in self._own:  # a second pass through a retained graph
                self._own[part] = self._add(gradient)

    def _share(self, hook: Hook, gradients: Gradients) -> None:
        for index, handed in hook.handed:
            gradient = gradients[index]
            if gradient is not None and handed not in self._handed:
                self._handed[handed] = self._add(gradient)
        for index, handed in hook.pooled:
            gradient = gradients[index]
            if gradient is not None and handed[0] not in self._own:
                self._pools[handed].append(gradient.detach())

    def _pour(self, part: Part) -> None:
        for handed in self._pooled[part]:
            shares = self._pools.pop(handed, [])
            if shares and handed not in self._handed:
                self._handed[handed] = self._add(shares[0] if len(shares) == 1 else torch.stack(shares).sum(0))

    # ------------------------------------------------------------ after it

    @property
    def complete(self) -> bool:
        """Whether a backward pass has gone through."""
        return self._came or bool(self._own)

    def ledger(self, step: int = 0) -> Ledger:
        """As `Account.ledger`; its entries are made at the first look."""
        plan = self._replay.plan
        numbers = Numbers(
            self._replay.panel.read(), self._replay.forward, self._replay.measured, dict(self._own), dict(self._handed)
        )
        return Ledger(_Deferred(plan.graph, plan.whole, numbers), step)

    def close(self) -> None:
        """Takes the hooks off the graph."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pools.clear()


class Numbers(NamedTuple):
    """What was measured in a pass: the slots of its panel."""

    readings: Sequence[Any]
    forward: list[tuple[int, ...]]
    measured: list[Measured | None]
    own: Mapping[Part, int]
    handed: Mapping[Handed, int]


class _Deferred(NamedTuple):
    graph: Graph
    whole: frozenset[Handed]
    numbers: Numbers

    def __call__(self) -> tuple[Entry, ...]:
        return settled(self.graph, self.whole, self.numbers)


def settled(graph: Graph, whole: frozenset[Handed], numbers: Numbers) -> tuple[Entry, ...]:
    """The entries of a planned graph with the numbers of one pass."""

    def reading(slots: Sequence[int]) -> Reading:
        return merged([Reading(*numbers.readings[slot]) for slot in slots])

    stops: list[Stop] = []
    for i, planned in enumerate(graph.stops):
        passage = None
        if planned.site is not None:
            measured = numbers.measured[i]
            passage = Passage(planned.site, reading(numbers.forward[i]), measured and measured.slope)
        slots = [numbers.own[i, part] for part in range(planned.parts) if (i, part) in numbers.own]
        stops.append(Stop((), passage, reading(slots) if slots else None, depth=planned.depth))
    received: dict[tuple[int, int], list[int]] = defaultdict(list)
    for (part, later), slot in numbers.handed.items():
        received[part[0], later].append(slot)
    for part, later in whole:
        if part in numbers.own:
            received[part[0], later].append(numbers.own[part])
    for (earlier, later), slots in received.items():
        stops[earlier].received[stops[later]] = reading(slots)
    for stop, planned in zip(stops, graph.stops, strict=True):
        stop.before = [stops[i] for i in planned.before]
    return entries(stop for stop in stops if stop.operation is not None)


class Followed:
    """What a `Trace` tells of its pass."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self.samples, self.inputs = replay.given.samples, replay.given.reading
        self.not_observed: Mapping[str, NotObserved] = replay.plan.not_observed

    @property
    def operations(self) -> list[_Seen]:
        """Of the activations: where, and which units have a slope."""
        found = zip(self._replay.plan.graph.stops, self._replay.measured, strict=False)
        return [_Seen(stop.site, m.alive) for stop, m in found if m is not None and stop.site is not None]


class _Seen(NamedTuple):
    site: Any
    alive: Tensor


@dataclass(frozen=True)
class _Both:
    handles: tuple[Any, ...]

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
