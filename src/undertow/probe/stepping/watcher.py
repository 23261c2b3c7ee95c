"""Whom the loop tells of its iterations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from torch import Tensor
from torch.optim import Optimizer

from undertow.probe.nonfinite.witness import Witness
from undertow.probe.stepping.gradients import Gradients
from undertow.probe.stepping.inventory import Inventory
from undertow.probe.stepping.received import Iteration
from undertow.record import Recording, StepReading


class Watcher(Protocol):
    """The observer, as the loop knows it."""

    recording: Recording
    inventory: Inventory
    witness: Witness
    learnt: int

    def look_around(self) -> None:
        """The model has other parameters than before."""

    def decide(self, number: int) -> bool:
        """Iteration `number` has had its first step: whether the next one is measured whole."""
        ...

    def begin(self, number: int, deep: bool) -> Iteration:
        """An iteration begins, at the latest with its first pass."""
        ...

    def passed(self, now: Iteration, task: int | None) -> None:
        """A backward pass has ended."""

    def before_change(self, now: Iteration) -> None:
        """An optimizer is about to change the weights."""

    def rest(self, optimizer: Optimizer) -> None:
        """The next step, of this optimizer, is not read: nothing but its time has to be seen."""

    def look_back(self, number: int) -> None:
        """A gradient is not finite, and the weights are as they were when it arose."""

    def finished(self, now: Iteration, optimizers: list[Optimizer | None]) -> None:
        """No more steps are due in an iteration."""

    def add(self, reading: StepReading, gradients: Gradients | None = None, held: Collection[Tensor] = ()) -> None:
        """An optimizer that holds these parameters has stepped, or has left out a step; the gradients it was given."""

    def defer(self, number: int, call: Callable[[], None]) -> None:
        """Calls at once, or in the next iteration where the numbers are still computed."""
