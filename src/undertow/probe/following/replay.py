"""A forward pass that follows a plan: only what the plan says is measured, each call checked to be the planned one."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from undertow.foundation.calls import Calls
from undertow.native import Panel, kernels
from undertow.native.panel import ROW
from undertow.native.statistics import reader
from undertow.probe.following.plan import Plan, PlannedCall, PlannedModule
from undertow.probe.following.returning import Returning
from undertow.probe.following.script import counts
from undertow.probe.following.table import Activity, Slopes
from undertow.probe.tracing.inputs import Inputs
from undertow.probe.tracing.slopes import Measured, Way
from undertow.probe.tracing.slopes import Slopes as Recogniser
from undertow.probe.tracing.trace import Guard

NO_MODULE: Any = PlannedModule(None, -1, None, False, ())  # pyright: ignore[reportArgumentType]


class Replay:
    """Follows `plan` through one pass; `ok` turns False at the first difference, and the pass is then left alone.

    A `light` one measures only which units have a slope: enough of a further micro-batch of the same step.
    """

    def __init__(self, plan: Plan, slopes: Recogniser, guard: Guard, light: bool = False) -> None:
        self.plan, self.light, self.ok = plan, light, True
        self.table = table = plan.table
        self.panel = Panel(table.rows)
        self.alive = torch.empty(table.units, dtype=torch.bool)
        self._seconds = 0.0
        self.others: dict[int, Measured] = {}
        """Slopes that no kernel has written into the panel."""
        self.given = Inputs()
        self._nodes: list[Node | tuple[Node, ...]] = [()] * len(table.activities)
        self._slopes, self._guard = slopes, guard
        self.fail = guard(_raise)
        self._put, self._rows, self._marks = self.panel.put, self.panel.address, self.alive.data_ptr()
        self._calls = iter(plan.calls)
        self._modules = iter(plan.modules or plan.opaque)  # an opaque one is a module as others where all are modules
        self._early = iter([m for m in plan.modules or () if m.early])
        self._awaited: PlannedModule = next(self._modules, NO_MODULE)
        self._awaited_early: PlannedModule = next(self._early, NO_MODULE)
        self._module, self._busy = self._awaited.module, False
        self._handles: list[Any] = []
        self._native = None
        if plan.steps is not None and not light:
            self._native = kernels.module.Follower(plan.steps, self._nodes, self._rows, self._marks, ref(self))

    # ------------------------------------------------------------ following

    def open(self) -> None:
        """Observes what runs until `close`, as a trace does."""
        self._handles = list(self._hooks())

    def close(self) -> None:
        for handle in self._handles[::-1]:
            handle.remove()
        self._handles = []

    def _hooks(self) -> Iterator[Any]:
        if not self.plan.early_inputs:
            yield register_module_forward_pre_hook(self._guard(lambda _module, args: self.given.note(args)))
        if self._awaited_early is not NO_MODULE:
            yield register_module_forward_pre_hook(self._before_module)
        if self._native is not None:
            yield register_module_forward_hook(self._native)
        elif self._awaited is not NO_MODULE:
            yield register_module_forward_hook(self._after_module)
        if self.plan.modules is None:
            yield _Entered(Calls(self.call))

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module is not self._awaited_early.module or not self.ok:
            return
        planned, self._awaited_early = self._awaited_early, next(self._early, NO_MODULE)
        try:
            self.ok = self._as_planned(planned) and bool(args)
            if self.ok:
                self._slope(planned.operation, self._activity(planned.operation), args[0])
        except Exception as error:  # the guard costs more than most of what it guards; it is called only with an error
            self.ok = False
            self.fail(error)

    def _after_module(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module is not self._module or not self.ok:
            return
        planned = self._awaited
        self._awaited = following = next(self._modules, NO_MODULE)
        self._module = following.module
        self._busy = True  # to switch torch's dispatch off would take it from the jets of a derivative, too
        start = perf_counter()
        try:
            self._follow(planned, args, output)
        except Exception as error:
            self.ok = False
            self.fail(error)
        self._busy = False
        self._seconds += perf_counter() - start

    def follow(self, step: int, args: tuple[Any, ...], output: Any) -> bool:
        """What the native hook leaves to us; whether all goes as planned."""
        assert self.plan.modules is not None
        self._follow(self.plan.modules[step], args, output)
        return self.ok

    def _follow(self, planned: PlannedModule, args: tuple[Any, ...], output: Any) -> None:
        operation, source = planned.operation, planned.source
        if source is not None and not self.light and (not args or args[0].grad_fn is not self._nodes[source]):
            self.ok = False
            return
        activity = self.table.activities[operation]
        if activity is None or planned.early:
            self._take(operation, output)
        elif not self._as_planned(planned) or not args:
            self.ok = False
        elif activity.way.rectified:
            self._rectified(operation, activity, output)
        else:
            self._slope(operation, activity, args[0])
            self._take(operation, output)

    def _as_planned(self, planned: PlannedModule) -> bool:
        return all(getattr(planned.module, name) == value for name, value in planned.settings)

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._busy or not self.ok or not counts(function) or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        planned = next(self._calls, None)
        if planned is None or not _is_planned(planned, function, args, kwargs):
            self.ok = False
            return function(*args, **kwargs)
        way, start = None, perf_counter()
        if planned.source_of is not None:
            way = self._measure_call(planned, planned.source_of, function, args, kwargs)
        self._seconds += perf_counter() - start
        output = function(*args, **kwargs)
        start = perf_counter()
        if planned.operation is not None:
            try:
                if way is None:
                    self._take(planned.operation, output)
                else:
                    self._rectified(planned.operation, self._activity(planned.operation), output)
            except Exception as error:
                self.ok = False
                self.fail(error)
        self._seconds += perf_counter() - start
        return output

    # ------------------------------------------------------------ measuring

    def _activity(self, operation: int) -> Activity:
        activity = self.table.activities[operation]
        assert activity is not None
        return activity

    def _measure_call(
        self, planned: PlannedCall, operation: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Way | None:
        """The way of an activation whose output will tell its slope; any other slope is measured now."""
        try:
            activity = self._activity(operation)
            if planned.operation == operation:  # its numbers may have changed
                activation = self._slopes.recognise(function, args, kwargs)
                way = activity.way if activation is None else self._slopes.way(activation)
                if way is not None and way is not activity.way:
                    activity = activity._replace(way=way)
                elif activity.way.rectified:
                    return activity.way
            self._slope(operation, activity, args[planned.argument])
        except Exception as error:
            self.ok = False
            self.fail(error)
        return None

    def _slope(self, operation: int, activity: Activity, x: Tensor) -> None:
        way, channels_first, units, slot, first = activity
        planned = way is self.table.activities[operation].way  # type: ignore[union-attr]
        if planned and way.derivative is not None and reader is not None:
            row = self._rows + ROW * slot
            if reader.slope(x, way.derivative, channels_first, units, row, self._marks + first):
                return
        found = self._slopes.measure(way.activation, x, channels_first)
        if found is not None:
            self.others[operation] = found

    def _rectified(self, operation: int, activity: Activity, output: Any) -> None:
        """A ReLU, in one look at its output."""
        if not self.light and type(output) is Tensor and (node := output.grad_fn) is not None and reader is not None:
            _, channels_first, units, slot, first = activity
            value, row = self._rows + ROW * self.table.forward[operation].start, self._rows + ROW * slot
            if reader.rectified(output, channels_first, units, value, row, self._marks + first):
                self._nodes[operation] = node
                return
        self._slope(operation, activity, output)
        self._take(operation, output)

    def _take(self, operation: int, output: Any) -> None:
        if self.light:
            return
        slots = self.table.forward[operation]
        if type(output) is Tensor and (node := output.grad_fn) is not None and len(slots) == 1:
            self._nodes[operation] = node
            self._put(slots.start, output)
            return
        leaves = (t for t in tree_leaves(output) if isinstance(t, Tensor))
        tensors = [t for t in leaves if t.grad_fn is not None and t.is_floating_point()]
        if len(tensors) != len(slots):
            self.ok = False
            return
        self._nodes[operation] = tuple(t.grad_fn for t in tensors if t.grad_fn is not None)
        for slot, tensor in zip(slots, tensors, strict=True):
            self._put(slot, tensor)

    # ------------------------------------------------------------ done

    @property
    def seconds(self) -> float:
        """Spent in the hooks, which no guard times."""
        return self._seconds + (self._native.seconds if self._native is not None else 0.0)

    def account(self, output: Any) -> Returning | None:
        """Hooks the graph of the finished pass; None where it went another way than planned."""
        followed = self._awaited is NO_MODULE if self._native is None else self._native.done
        if not (self.ok and followed and self._awaited_early is NO_MODULE):
            return None
        if self.plan.modules is None and next(self._calls, None) is not None:
            return None
        slopes = Slopes(self.table, self.panel.close(), self.alive, self.others)
        if self.light:
            node = next((t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn), None)
            return None if node is None else Returning(self, slopes, [node])
        nodes = self.plan.graph.located(self._nodes, self.plan.ways)
        self._nodes.clear()
        return None if nodes is None else Returning(self, slopes, nodes)


def _is_planned(planned: PlannedCall, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if planned.function is not function and planned.function != function:
        return False
    for key, parameter in planned.fixed:
        if (args[key] if isinstance(key, int) and key < len(args) else kwargs.get(str(key))) is not parameter:
            return False
    return True


class _Entered:
    """A mode that is left as a hook is removed."""

    def __init__(self, mode: Calls) -> None:
        self._mode = mode
        mode.__enter__()

    def remove(self) -> None:
        self._mode.__exit__(None, None, None)


def _raise(error: Exception) -> None:
    raise error
