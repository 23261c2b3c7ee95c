"""The steps between those that are read: one look at a gradient, and the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from undertow.probe.nonfinite.witness import Witness
from undertow.probe.stepping.budget import Budget
from undertow.probe.stepping.lookout import Lookout
from undertow.record import Recording

Hook = Callable[[Optimizer, Any, Any], None]


class Sleeper(Protocol):
    """Who rests: the observer."""

    recording: Recording
    budget: Budget
    witness: Witness

    def woken(self, sound: bool) -> None:
        """The last step of the rest is about to be made, or the first with a gradient that is not finite."""

    def fail(self, error: Exception) -> None:
        """An error of ours: it must not reach the optimizer that calls."""


class Rest:
    """Stands before the hooks on all optimizers, and keeps them from being called while there is nothing to read.

    What is done here is done in nearly every step of a run, each time with cold caches: a line takes a microsecond.
    """

    def __init__(self, before: Hook, after: Hook, concerns: Callable[[Optimizer], bool]) -> None:
        """`concerns` tells whether an optimizer holds parameters of the model."""
        self._before, self._after, self._concerns = before, after, concerns
        self.left = 0
        """Steps to leave alone."""
        self.number = 0
        """Of the step that is under way."""
        self.seconds = 0.0
        """Of our own since the rest began."""
        self.times: list[float] = []
        """When its steps were made."""
        self._lookout = Lookout(None)
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]

    def begin(self, sleeper: Sleeper, optimizer: Optimizer, sentinel: Tensor | None, number: int) -> None:
        """From step `number` on; `sentinel` is a small parameter whose gradient shows nearly every fault behind it."""
        self._sleeper, self._optimizer, self._witness = sleeper, optimizer, sleeper.witness
        if self._lookout.parameter is not sentinel:
            self._lookout = Lookout(sentinel)
        self._clock, self.number = sleeper.budget.clock, number
        self.left, self.times, self.seconds = sleeper.budget.alone(number), [], 0.0

    def close(self) -> None:
        self.left = 0
        for handle in self._handles:
            handle.remove()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        try:
            if self.left and not self._ends(optimizer):
                return
        except Exception as error:
            self.left = 0
            self._sleeper.fail(error)
        self._before(optimizer, args, kwargs)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self.left:
            self._after(optimizer, args, kwargs)

    def _ends(self, optimizer: Optimizer) -> bool:
        """Whether the rest is over with the step that this optimizer is about to make."""
        start = self._clock()
        sound = True
        if optimizer is self._optimizer:
            quiet = self._lookout.look()
            self.times.append(start)
            if quiet and self.left > 1:
                self.left -= 1
                self.number += 1
                self._sleeper.recording.unread_steps += 1
                self._witness.over = True
                self.seconds += self._clock() - start
                return False
            if not quiet:
                sound = self._lookout.sound
                if sound:
                    self._sleeper.budget.alarm(self.number)
        elif optimizer.param_groups is self._optimizer.param_groups or not self._concerns(optimizer):
            return False  # it wraps ours or is wrapped by it; or it is another model's
        self.left = 0
        self._sleeper.woken(sound)
        return True
