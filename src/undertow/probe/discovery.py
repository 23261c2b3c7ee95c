"""Finds what trains in a program that is not ours, and observes it: models by their calls, optimizers by their steps.

An observed model is the outermost module that runs in training mode with gradients on and has parameters to train.
torch's own global hooks tell of it, and are taken off once every optimizer's parameters are known; they come back when
an unknown optimizer steps.  Compiled code is not listened to (a hook on modules would be compiled into it, and the code
compiled anew without it): there, models are found by the wrapper that torch.compile(model) makes, else through the
parameters of the optimizer that steps.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from undertow.foundation.imports import when_imported
from undertow.probe.compiled import COMPILER, Before, is_wrapper
from undertow.probe.living import LIVING
from undertow.probe.nonfinite.replica import is_replica
from undertow.probe.observer import Observer
from undertow.probe.stepping.clock import parameters
from undertow.probe.tracing.calls import OutermostCalls, variable_name
from undertow.record import Recording

LOOKED = (3, 10, 30)
"""After so many optimizer steps without anything new, all may be known."""
LONGEST = 100
"""After so many steps, or so many outermost calls where no optimizer steps, what was not found is not waited for."""
STALE = 200
"""A model that made no step while others made so many is given back to the program, which may want its memory."""


@dataclass
class Seen:
    """What ran, told where nothing trained."""

    evaluated: int = 0
    """Outermost calls in evaluation mode or without gradients."""
    trained: int = 0
    """Outermost calls in training mode, with gradients."""
    steps: int = 0
    name: str = ""
    """The class of the module called last."""


class Discovery:
    """Observes every model that trains, until `close()`.

    Parameters
    ----------
    budget:
        Share of the run's time that observing all of them may cost; None measures every step whole.
    found:
        Told of each observer, before the forward pass that it begins with.
    """

    def __init__(self, budget: float | None = 0.02, found: Callable[[Observer], None] = lambda observer: None) -> None:
        self.seen = Seen()
        self.failure: Exception | None = None
        self._budget, self._found = budget, found
        self._observers: list[Observer] = []
        self._retired: list[Recording] = []
        self._known: set[int] = set()
        self._optimizers: WeakSet[Optimizer] = WeakSet()
        self._missed: WeakSet[Optimizer] = WeakSet()
        self._wrappers: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self._quiet = self._armed_for = 0
        self._progress: dict[Observer, tuple[int, int]] = {}  # its step, and when it was first seen there
        self._compiles = False
        self._cancel: Callable[[], None] = lambda: None
        self._calls = OutermostCalls(self._called, self._guard)
        self._handles = [
            register_optimizer_step_pre_hook(self._guard(self._before_step)),
            register_optimizer_step_post_hook(self._guard(self._after_step)),
            register_module_module_registration_hook(self._guard(self._registered)),
        ]
        self._calls.arm()
        if COMPILER not in sys.modules:
            self._cancel = when_imported(COMPILER, self._guard(self._compiling))
        elif LIVING.has_functions():
            self._compiling()

    def close(self) -> list[Recording]:
        """Takes every hook off; the recordings of the models that trained, in the order in which they were found."""
        self._cancel()
        self._calls.disarm()
        for handle in (*self._handles, *self._wrappers.values()):
            handle.remove()
        self._handles.clear()
        self._wrappers.clear()
        for observer in list(self._observers):
            self._retire(observer)
        return self._retired

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours ends the search, not the program."""

        def guarded(*args: Any) -> Any:
            if self.failure is not None:
                return None
            try:
                return call(*args)
            except Exception as error:
                self.failure = error
                self._calls.disarm()
                return None

        return guarded

    # ------------------------------------------------------------ calls

    def _registered(self, module: nn.Module, name: str, part: nn.Module | None) -> None:
        """torch.compile has wrapped a module: the wrapper's call is still Python's own, and may be hooked."""
        if name == "_orig_mod" and is_wrapper(module):
            self._compiling()
            called = Before(self._guard(self._called))
            self._wrappers[module] = module.register_forward_pre_hook(called, with_kwargs=True)
        elif part is not None and part in self._wrappers:  # a part of the module that is called
            self._wrappers.pop(part).remove()

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        if is_replica(module):
            return
        self.seen.name = type(module).__name__
        trains = module.training and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        own = [p for p in module.parameters() if p.requires_grad] if trains else []
        if not own:
            self.seen.evaluated += not trains
            return
        self.seen.trained += 1
        if not any(map(is_lazy, own)) and not self._known.issuperset(map(id, own)):
            self._observe(module).join(args, kwargs)
        elif not self.seen.steps and self.seen.trained > LONGEST:  # no optimizer of torch's at all
            self._calls.disarm()

    def _observe(self, module: nn.Module, name: str | None = None) -> Observer:
        inside = {id(m) for m in module.modules()}
        for observer in list(self._observers):
            if id(observer.model) in inside or self._stale(observer):
                self._retire(observer)
        name, taken = name or variable_name(module), self._names()
        if name in taken:
            name = f"{name} ({sum(n.partition(' (')[0] == name for n in taken) + 1})"
        observer = Observer(module, None, self._budget, name=name)
        self._found(observer)
        self._observers.append(observer)
        for o in self._observers:
            if self._progress.get(o, (-1, 0))[0] != o.step:
                self._progress[o] = o.step, self.seen.steps
        self._share_budget()
        if module in self._wrappers:
            self._wrappers.pop(module).remove()
        self._known = {id(p) for o in self._observers for p in o.model.parameters()}
        self._quiet = 0
        return observer

    def _names(self) -> list[str]:
        return [r.name for r in self._retired] + [o.recording.name for o in self._observers]

    def _share_budget(self) -> None:
        if self._budget is not None:
            for observer in self._observers:
                observer.budget.share = self._budget / len(self._observers)

    def _stale(self, observer: Observer) -> bool:
        step, steps = self._progress[observer]
        return observer.step == step and self.seen.steps - steps >= STALE

    def _retire(self, observer: Observer) -> None:
        observer.close()
        self._observers.remove(observer)
        self._progress.pop(observer, None)
        if observer.recording.steps or observer.recording.snapshots:
            self._retired.append(observer.recording)

    # ------------------------------------------------------------ steps

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self.seen.steps += 1
        self._calls.forget()
        if optimizer not in self._optimizers:
            self._optimizers.add(optimizer)
            self._quiet = 0
            if not self._knows(optimizer):
                self._missed.add(optimizer)
            if not self._compiles:
                self._calls.arm()
                return
        if optimizer in self._missed:  # nor did the calls since its last step tell of its parameters
            self._missed.discard(optimizer)
            self._await([p for p in parameters(optimizer) if p.requires_grad])

    def _after_step(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._calls.armed:
            self._quiet += 1
            self._armed_for += 1
            if self._armed_for >= LONGEST or (self._quiet in LOOKED and self._all_known()):
                self._calls.disarm()
                self._armed_for = 0

    def _await(self, wanted: list[torch.Tensor]) -> None:
        """Searches when the next of them receives a gradient: an optimizer's hooks must not change while they run."""

        def found(_parameter: torch.Tensor) -> None:
            while handles:
                handles.pop().remove()
            for module in holders(p for p in wanted if id(p) not in self._known):
                self._observe(module, type(module).__name__)

        found = self._guard(found)
        handles = [p.register_post_accumulate_grad_hook(found) for p in wanted if id(p) not in self._known]

    def _knows(self, optimizer: Optimizer) -> bool:
        return all(id(p) in self._known for p in parameters(optimizer) if p.requires_grad)

    def _all_known(self) -> bool:
        """Also the optimizers that have not stepped yet: a critic may make many steps before its generator does."""
        return all(self._knows(o) for o in gc.get_objects() if issubclass(type(o), Optimizer))

    def _compiling(self) -> None:
        self._compiles = True
        self._calls.disarm()


def holders(wanted: Iterable[torch.Tensor]) -> list[nn.Module]:
    """The modules to which these parameters belong: the smallest that holds them all, else the largest of each.

    A wrapper of torch's own (compiled, distributed) stands for the module inside it, since it is what is called.
    """
    ids = {id(p) for p in wanted}
    # type(), not isinstance(): a lazy proxy of the program's must not be made to load what it stands for
    modules = [m for m in gc.get_objects() if issubclass(type(m), nn.Module) and "_parameters" in m.__dict__]
    held = {m: ids & {id(p) for p in m.parameters()} for m in modules}
    held = {m: found for m, found in held.items() if found}
    whole = [m for m, found in held.items() if found == ids]
    if not whole:
        inner = {c for m in held for c in m.modules() if c is not m}
        return [m for m in held if m not in inner]
    smallest = min(whole, key=lambda m: sum(1 for _ in m.modules()))
    wrappers = [m for m in whole if type(m).__module__.startswith("torch.") and smallest in set(m.modules())]
    wrappers = [m for m in wrappers if len(list(m.parameters())) == len(list(smallest.parameters()))]
    return [max([smallest, *wrappers], key=lambda m: sum(1 for _ in m.modules()))]
