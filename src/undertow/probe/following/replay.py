"""A forward pass that follows a plan: only what the plan says is measured, each call checked to be the planned one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves

from undertow.foundation.calls import Calls
from undertow.native import Panel
from undertow.probe.following.plan import Plan, PlannedCall, PlannedModule
from undertow.probe.following.returning import Returning
from undertow.probe.following.script import counts
from undertow.probe.tracing.inputs import Inputs
from undertow.probe.tracing.slopes import Measured, Slopes
from undertow.probe.tracing.trace import Guard


class Replay:
    """Follows `plan` through one pass; `ok` turns False at the first difference, and the pass is then left alone.

    A `light` one measures only which units have a slope: enough of a further micro-batch of the same step.
    """

    def __init__(self, plan: Plan, slopes: Slopes, guard: Guard, light: bool = False) -> None:
        self.plan, self.light, self.ok = plan, light, True
        self.panel = Panel()
        self._add = self.panel.add
        self.given = Inputs()
        self.forward: list[tuple[int, ...]] = [()] * len(plan.activities)
        self.measured: list[Measured | None] = [None] * len(plan.activities)
        self._nodes: list[tuple[Node, ...]] = [()] * len(plan.activities)
        self._slopes, self._guard = slopes, guard
        self.fail = guard(_raise)
        self._next = 0
        self._handed_on: Any = None
        self._busy = False
        self._opaque = [] if plan.modules is not None else list(plan.opaque[::-1])  # there they are modules as others
        self._early = [m for m in (plan.modules or ())[::-1] if m.measured and m.in_place]

    # ------------------------------------------------------------ following

    @contextmanager
    def watching(self) -> Iterator[Replay]:
        """Observe what runs inside the block, as a trace does."""
        with ExitStack() as stack:
            for handle in self._hooks():
                stack.callback(handle.remove)
            if self.plan.modules is None:
                stack.enter_context(Calls(self.call))
            yield self

    def _hooks(self) -> Iterator[Any]:
        if not self.plan.early_inputs:
            yield register_module_forward_pre_hook(self._guard(lambda _module, args: self.given.note(args)))
        if self._early:
            yield register_module_forward_pre_hook(self._shielded(self._before_module))
        if self.plan.modules is not None:
            yield register_module_forward_hook(self._shielded(self._after_module))
        elif self._opaque:
            yield register_module_forward_hook(self._shielded(self._after_opaque))

    def _shielded(self, call: Callable[..., None]) -> Callable[..., None]:
        """The guard costs more than most of what it guards; it is called only with an error."""

        def shielded(*args: Any) -> None:
            try:
                if self.ok:
                    call(*args)
            except Exception as error:
                self.ok = False
                self.fail(error)

        return shielded

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._early and module is self._early[-1].module:
            self._slope(self._early.pop(), args)

    def _after_module(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        modules = self.plan.modules
        if modules is None or self._next == len(modules) or module is not modules[self._next].module:
            return
        planned = modules[self._next]
        self._next += 1
        if planned.measured and not planned.in_place:
            self._slope(planned, args)
        if planned.reads is not None:
            if args[0] is not self._handed_on:
                self.ok = False
                return
            self._take(planned.reads, args[0])
        if planned.covered:
            self._handed_on = output
        else:
            self._handed_on = None
            self._take(planned.operation, output)

    def _after_opaque(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._opaque and module is self._opaque[-1].module:
            planned = self._opaque.pop()
            self._busy = True  # to switch torch's dispatch off would take it from the jets of a derivative, too
            try:
                self._slope(planned, args)
                self._take(planned.operation, output)
            finally:
                self._busy = False

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._busy or not self.ok or not counts(function) or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        planned = self._expected(function, args, kwargs)
        if planned is None:
            self.ok = False
            return function(*args, **kwargs)
        if planned.source_of is not None:
            self._measure_call(planned, function, args, kwargs)
        output = function(*args, **kwargs)
        if planned.operation is not None:
            try:
                self._take(planned.operation, output)
            except Exception as error:
                self.ok = False
                self.fail(error)
        return output

    def _expected(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PlannedCall | None:
        if self._next == len(self.plan.calls):
            return None
        planned = self.plan.calls[self._next]
        self._next += 1
        if planned.function is not function and planned.function != function:
            return None
        for key, parameter in planned.fixed:
            if (args[key] if isinstance(key, int) and key < len(args) else kwargs.get(str(key))) is not parameter:
                return None
        return planned

    # ------------------------------------------------------------ measuring

    def _measure_call(self, planned: PlannedCall, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            operation = planned.source_of
            assert operation is not None
            activity = self.plan.activities[operation]
            assert activity is not None
            activation = activity.activation
            if planned.operation == operation:  # its numbers may have changed
                activation = self._slopes.recognise(function, args, kwargs) or activation
            x = args[planned.argument]
            self.measured[operation] = self._slopes.measure(activation, x, activity.channels_first)
        except Exception as error:
            self.ok = False
            self.fail(error)

    def _slope(self, planned: PlannedModule, args: tuple[Any, ...]) -> None:
        activity = self.plan.activities[planned.operation]
        assert activity is not None
        for name, value in planned.settings:
            if getattr(planned.module, name) != value:
                self.ok = False
                return
        self.measured[planned.operation] = self._slopes.measure(activity.activation, args[0], activity.channels_first)

    def _take(self, operation: int, output: Any) -> None:
        if self.light:
            return
        if type(output) is Tensor and (node := output.grad_fn) is not None:
            self._nodes[operation] = (node,)
            self.forward[operation] = (self._add(output),)
            return
        leaves = (t for t in tree_leaves(output) if isinstance(t, Tensor))
        tensors = [t for t in leaves if t.grad_fn is not None and t.is_floating_point()]
        nodes = tuple(t.grad_fn for t in tensors if t.grad_fn is not None)
        if len(nodes) != self.plan.graph.stops[operation].parts:
            self.ok = False
            return
        self._nodes[operation] = nodes
        self.forward[operation] = tuple(map(self._add, tensors))

    # ------------------------------------------------------------ done

    def account(self, output: Any) -> Returning | None:
        """Hooks the graph of the finished pass; None where it went another way than planned."""
        done = len(self.plan.calls if self.plan.modules is None else self.plan.modules)
        if not self.ok or self._next < done or self._opaque or self._early:
            return None
        if self.light:
            node = next((t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn), None)
            return None if node is None else Returning(self, [node], ())
        nodes = self.plan.graph.located(self._nodes)
        self._nodes.clear()
        return None if nodes is None else Returning(self, nodes, self.plan.hooks)


def _raise(error: Exception) -> None:
    raise error
