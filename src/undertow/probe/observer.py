"""Observes a training loop that it doesn't own: taps on the model's forward pass, the gradient and the optimizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from undertow.native import statistics
from undertow.probe.account import Account
from undertow.probe.budget import Budget
from undertow.probe.clock import Clock
from undertow.probe.gradients import total_norm
from undertow.probe.objective import check_trainable
from undertow.probe.tap import ForwardTap
from undertow.probe.updates import Updates
from undertow.record import NotObserved, ParameterReading, Reading, Recording, Sink, Snapshot, Stage, StepReading

ALARMED = 2
"""After a gradient that is not finite, this many steps are measured whole."""


class Observer:
    """Watches `model` until `close()`; what was seen is in `recording`.

    A step is *deep* where its forward and backward pass are measured whole; only then are there hooks on the model.
    Every other step costs one norm of the gradients.

    Parameters
    ----------
    model:
        Observed wherever its forward pass runs in training mode with gradients on.
    optimizer:
        Its steps count; without one, every optimizer that holds a parameter of the model does.
    budget:
        Share of the run's time that observing may cost; None measures every step whole.
    name, sinks:
        Of the recording.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        budget: float | None = 0.02,
        *,
        name: str = "model",
        sinks: Iterable[Sink] = (),
    ) -> None:
        check_trainable(model)
        self.model = model
        self.recording = Recording(name=name, sinks=list(sinks))
        self.budget = Budget(budget)
        self.failure: Exception | None = None
        self.step = 0
        self._optimizers: list[Optimizer] = []
        self._passes = 0
        self._alarms = 0
        self._updates: Updates | None = None
        self._weights: dict[str, Reading] = {}
        self._gradients: dict[str, Reading] = {}
        self._read = False
        self._tap = ForwardTap(model, lambda: self.model.training, self._guard)
        self._clock = Clock(model, optimizer, self, self._guard)
        self._begin()

    def close(self) -> None:
        """Takes every hook off; the model is as it was."""
        self._clock.close()
        self._tap.disarm()
        self._guard(self._collect)()
        for account in self._tap.take():  # after an error of ours there may be some left
            account.close()
        self.recording.overhead = self.budget.overhead

    def join(self, args: tuple[Any, ...]) -> None:
        """Takes in the forward pass that has just begun: its pre-hooks were called before there was one of ours."""
        self._guard(self._tap.enter)(self.model, args)

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """An error of ours never ends the user's training: it ends the observing, and is said once."""

        def guarded(*args: Any) -> Any:
            if self.failure is not None:
                return None
            try:
                with self.budget.counted():
                    return call(*args)
            except Exception as error:
                self._fail(error)
                return None

        return guarded

    # ------------------------------------------------------------ one step, from its first forward pass on

    def _begin(self) -> None:
        """Decides about the step that comes, before its forward pass."""
        self._passes, self._read, self._updates = 0, False, None
        self._weights, self._gradients = {}, {}
        self.deep = self.budget.wants(self.step) or self._alarms > 0
        if self.deep:
            self._tap.arm()
        else:
            self._tap.disarm()

    def backward_ended(self) -> None:
        self._passes += 1

    def before_step(self, optimizer: Optimizer) -> None:
        if self.deep:
            self._updates = Updates(self.model)
            self._weights = {name: Reading(*statistics(p)) for name, p in self._trained()}
        if self._passes:  # else the optimizer was given a closure, which will compute the gradients
            self._read_gradients(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        if not self._read:
            self._read_gradients(optimizer)
        self._collect()
        self.budget.stepped(self.step)
        self.step += 1
        self._begin()

    def _read_gradients(self, optimizer: Optimizer) -> None:
        self._read = True
        size = total_norm(optimizer)
        rate = float(optimizer.param_groups[0]["lr"])
        self.recording.add(StepReading(self.step, size, rate, self._number(optimizer), passes=self._passes))
        if self.deep:
            found = ((name, p.grad) for name, p in self._trained())
            self._gradients = {name: Reading(*statistics(g)) for name, g in found if g is not None}
        self._alarms = self._alarms - 1 if self._alarms else 0 if math.isfinite(size) else ALARMED

    def _number(self, optimizer: Optimizer) -> int:
        if optimizer not in self._optimizers:
            self._optimizers.append(optimizer)
            self.recording.optimizers.append(type(optimizer).__name__)
        return self._optimizers.index(optimizer)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad and p.numel())

    def _parameter_readings(self) -> dict[str, ParameterReading]:
        updates = self._updates.readings(self.model) if self._updates else {}
        return {
            name: ParameterReading(weight, self._gradients.get(name), updates.get(name))
            for name, weight in self._weights.items()
        }

    def _collect(self) -> None:
        """Turns the passes since the last step into one snapshot: the ledger of the first, the units of all."""
        accounts = self._tap.take()
        for account in accounts:
            account.close()
            for note in account.trace.not_observed.values():
                self.recording.add(note)
        complete = [a for a in accounts if a.complete]
        if not complete:
            return
        first = complete[0]
        self.recording.add(
            Snapshot(
                self.step,
                first.ledger(self.step),
                sum(a.trace.samples for a in complete),
                first.trace.inputs,
                self._parameter_readings(),
                _alive(complete),
                Stage(passes=max(self._passes, 1)),
            )
        )

    def _fail(self, error: Exception) -> None:
        self.failure = (
            error  # the tap leaves at the forward's end: inside a call, torch has taken its mode off the stack
        )
        message = (
            f"undertow stopped observing at step {self.step} ({type(error).__name__}: {error}); the training goes on"
        )
        self.recording.add(NotObserved("undertow", message))
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _alive(accounts: list[Account]) -> dict[str, torch.Tensor]:
    """Per activation site, the units that had f′ ≠ 0 for a sample of any pass."""
    alive: dict[str, torch.Tensor] = {}
    for name, mask in ((o.site.name, o.alive) for a in accounts for o in a.trace.operations):
        if mask is not None:
            alive[name] = alive[name] | mask if name in alive else mask
    return alive
