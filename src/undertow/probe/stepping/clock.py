"""When a backward pass begins and ends, and when an optimizer steps: events for whoever observes a model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import _engine_run_backward
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from undertow.probe.sharing.sharding import flat_parameters
from undertow.probe.stepping.rest import Rest

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


class Listener(Protocol):
    """What happens in a training loop, in the order in which it does."""

    def look_around(self) -> None:
        """The parameters of a lazy model are there: its first forward pass has ended."""

    def backward_begins(self, parameter: Tensor) -> None:
        """A backward pass has accumulated its first gradient that is seen, into this parameter."""

    def backward_ended(self, task: int | None) -> None:
        """It has accumulated all; `task` is the id of its graph task, None where that is not known."""

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer that holds parameters of the model is about to step."""

    def after_step(self, optimizer: Optimizer) -> None:
        """It has stepped.  Backward passes since `before_step` were those of its closure."""


class Clock:
    """Calls the listener until `close()`, through hooks on all optimizers and on few parameters.

    Nothing is hooked to a module, so a compiled model stays as it is: hooks on parameters run in AccumulateGrad,
    outside of any compiled graph.  A backward pass is seen by the parameters that it reaches.  While the clock is
    learning it has a hook on every one; then only on so few that each pass seen so far reaches one of them.
    """

    def __init__(self, model: nn.Module, only: Optimizer | None, listener: Listener, guard: Guard) -> None:
        self._model, self._only, self._listener = model, only, listener
        self._accumulate = guard(self._accumulated)
        self._passed, self._end_of_task = guard(self._later), guard(self._task_ended)
        self._hooks: dict[int, tuple[Tensor, Any]] = {}
        self._learnt: list[dict[int, bool]] = []
        self._learning = False
        self._reached: dict[int, bool] = {}  # parameter -> only through a nested backward pass
        self._tasks: dict[int, bool] = {}  # graph tasks of the running pass -> nested
        self._running = self._unended = self._ends_nested = self._nests = False
        self._asleep: list[Tensor] = []
        self._stepping: Optimizer | None = None
        self._held: WeakKeyDictionary[Optimizer, tuple[int, bool]] = WeakKeyDictionary()
        self.wraps = False
        """Whether a step was seen inside another one: an optimizer that wraps optimizers."""
        self.rest = Rest(guard(self._before_step), guard(self._after_step), self._concerns)
        self._handles: list[Any] = []
        if any(map(is_lazy, model.parameters())):
            self._handles.append(model.register_forward_hook(_Once(guard(listener.look_around))))
        self.learn()

    def close(self) -> None:
        self.rest.close()
        for handle in (*self._handles, *(handle for _, handle in self._hooks.values())):
            handle.remove()
        self._handles.clear()
        self._hooks.clear()

    # ------------------------------------------------------------ which parameters have a hook

    def sleep(self) -> None:
        """Takes the hooks off the parameters: no pass is seen until `wake()`."""
        self._asleep = self.hooked
        self._hook(())

    def wake(self) -> None:
        self._hook(self._asleep)

    @property
    def hooked(self) -> list[Tensor]:
        """The parameters by which backward passes are seen."""
        return [parameter for parameter, _ in self._hooks.values()]

    @property
    def holders(self) -> list[Optimizer]:
        """The optimizers that hold parameters of the model and have stepped."""
        return [optimizer for optimizer, (_, holds) in self._held.items() if holds]

    def learn(self) -> None:
        """Looks at every parameter that the model has now, until `settle()`."""
        self._learning = True
        trained = (
            p
            for p in (*self._model.parameters(), *flat_parameters(self._model))
            if p.requires_grad and p.is_leaf and not is_lazy(p)
        )
        self._hook(trained)

    def settle(self) -> None:
        """Leaves hooks on the fewest parameters of which every pass that was seen reached one."""
        if not (self._learning and self._learnt):
            return
        del self._learnt[:-LEARNT]
        chosen = few_of_each(map(_own, self._learnt))
        self._ends_nested = any(reached.get(i) for reached in self._learnt for i in chosen)
        self._nests = any(any(reached.values()) for reached in self._learnt)
        self._learning = False
        self._hook([p for p, _ in self._hooks.values() if id(p) in chosen])

    def _hook(self, parameters: Iterable[Tensor]) -> None:
        wanted = {id(p): p for p in parameters}
        for gone in self._hooks.keys() - wanted.keys():
            self._hooks.pop(gone)[1].remove()
        for new in wanted.keys() - self._hooks.keys():
            parameter = wanted[new]
            self._hooks[new] = parameter, parameter.register_post_accumulate_grad_hook(self._accumulate)

    # ------------------------------------------------------------ a backward pass

    def _accumulated(self, parameter: Tensor) -> None:
        task = torch._C._current_graph_task_id()
        if task not in self._tasks:
            self._enter(task, parameter)
        if self._learning:
            self._reached[id(parameter)] = self._tasks[task] and self._reached.get(id(parameter), True)

    def _enter(self, task: int, parameter: Tensor) -> None:
        nested = (self._learning or self._nests) and _is_nested()
        if nested:  # in a reentrant checkpoint; a pass that comes to the same parameter again is another one
            begins = not self._running or (self._unended and (not self._learning or id(parameter) in self._reached))
        else:  # tasks are numbered as they start, and a nested one starts after its outer one
            begins = not self._running or task > max(self._tasks, default=-1)
        if begins:
            self._end_unended()
            self._reached.clear()
            self._tasks.clear()
            self._running = True
            self._listener.backward_begins(parameter)
        self._tasks[task] = nested
        _at_end(self._passed if distributed.is_available() and distributed.is_initialized() else self._end_of_task)

    def _later(self) -> None:
        """DDP and FSDP finish their reduction in callbacks of this kind: ours is queued again, behind them."""
        _at_end(self._end_of_task)

    def _task_ended(self) -> None:
        task = torch._C._current_graph_task_id()
        if self._tasks.get(task) and (self._learning or not self._ends_nested):
            self._unended = True  # the outer pass goes on, perhaps without reaching a parameter that is looked at
        else:
            self._end(None if self._tasks.get(task) else task)

    def _end_unended(self) -> None:
        if self._unended:
            self._end(None)

    def _end(self, task: int | None) -> None:
        self._running = self._unended = False
        if self._learning:
            self._learnt.append(dict(self._reached))
        self._listener.backward_ended(task)

    # ------------------------------------------------------------ a step

    def _concerns(self, optimizer: Optimizer) -> bool:
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        before, holds = self._held.get(optimizer, (-1, False))
        if before != count:
            known = {id(p) for p in self._model.parameters()}
            holds = any(id(p) in known for p in parameters(optimizer))
            self._held[optimizer] = count, holds
        if self._only is not None:  # a wrapper, such as Accelerate's, shares the groups of what it wraps
            return optimizer is self._only or optimizer.param_groups is self._only.param_groups
        return holds

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._concerns(optimizer) and not self._is_inner(optimizer):
            self._stepping = optimizer
            self._end_unended()
            self._listener.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if optimizer is self._stepping:
            self._stepping = None
            self._end_unended()
            self._listener.after_step(optimizer)

    def _is_inner(self, optimizer: Optimizer) -> bool:
        """Whether this is a step inside that of another one that counts: an optimizer that wraps optimizers."""
        outer = self._stepping
        if outer is None or outer is optimizer:
            return False
        inner = any(f.f_code.co_name == "wrapper" and f.f_locals.get("self") is outer for f in _frames())
        self.wraps = self.wraps or inner
        return inner


LEARNT = 32
"""So many of the last passes that were looked at decide where hooks stay."""


def few_of_each(sets: Iterable[Iterable[int]]) -> set[int]:
    """A small set that has a member in common with each of these: the most frequent first, of those the last named."""
    chosen: set[int] = set()
    left = [list(members) for members in sets]
    while left := [members for members in left if members and chosen.isdisjoint(members)]:
        counts = Counter(member for members in left for member in members)
        most = max(counts.values())
        chosen.add([member for member, count in counts.items() if count == most][-1])
    return chosen


def parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _own(reached: dict[int, bool]) -> list[int]:
    """The parameters that the pass itself reached, unless all are inside nested ones."""
    return [p for p, nested in reached.items() if not nested] or list(reached)


def _at_end(call: Callable[[], None]) -> None:
    torch.autograd.Variable._execution_engine.queue_callback(call)  # pyright: ignore[reportAttributeAccessIssue]


def _frames() -> Iterator[Any]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_nested() -> bool:
    """Whether the running backward pass was started by a node of another one, as reentrant checkpoints do."""
    frame, started = sys._getframe(1), False
    while frame is not None:
        started = started or frame.f_code is _ENGINE  # a node may call the hook itself, as those of FSDP2 do
        if started and frame.f_code is _NODE:
            return True
        frame = frame.f_back
    return False


_NODE = BackwardCFunction.apply.__code__
_ENGINE = _engine_run_backward.__code__


class _Once:
    """A forward hook for lazy models: they have parameters after their first forward pass."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def __call__(self, *_args: Any) -> None:
        if self.call is not None:
            self.call()
        self.call = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Once, (_nothing,))


def _nothing() -> None:
    return None
