"""The gradient as an optimizer receives it, beside what the backward pass had left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from undertow.probe.stepping.budget import Kind
from undertow.probe.stepping.clock import parameters
from undertow.probe.stepping.deep import DeepStep
from undertow.probe.stepping.gradients import Gradients
from undertow.probe.stepping.scaler import scale_of
from undertow.record import LossReading, StepReading

ALIKE = 1e-4
"""Two norms of one gradient differ by less, whatever the order of summation and the rounding of an unscaled one."""


@dataclass(eq=False)
class Iteration:
    """From the first forward pass to the last of the optimizers' steps that follow each other."""

    number: int
    deep: DeepStep | None
    passes: int = 0
    """Whose gradients are in the parameters now."""
    end: Gradients | None = None
    """At the end of the last pass, where they were read then."""
    stepped: list[Optimizer | None] = field(default_factory=list)
    carried: bool = False
    changed_late: bool = False
    loss_scale: float = 1.0
    eager: bool = False
    """A compiled model: the step's ledger is that of an uncompiled replay."""
    losses: list[Tensor] = field(default_factory=list)
    """Of its passes, as autograd was given them."""
    sound: bool = False
    """Whether a look at one gradient has shown before its step that they are finite."""
    normed: bool = True
    """Whether its gradients are read although it is not measured whole."""

    @property
    def read(self) -> bool:
        return self.normed or self.deep is not None

    @property
    def loss(self) -> LossReading:
        """What the optimizer stepped on: the sum over the passes, without the factor of a loss scaler."""
        return LossReading(self.number, sum(loss.item() for loss in self.losses) / self.loss_scale)

    @property
    def kind(self) -> Kind:
        return "deep" if self.deep is not None else "normed" if self.normed else "plain"


class Received:
    """One optimizer's gradients at its step; its numbers are read by `reading`."""

    def __init__(
        self,
        iteration: Iteration,
        optimizer: Optimizer,
        others: Sequence[Tensor],
        scaler: GradScaler | None,
        twice: bool,
    ) -> None:
        """`others` are parameters that are looked at too, `twice` asks to read gradients that seem unchanged."""
        self.iteration, self.optimizer = iteration, optimizer
        self.held = list(parameters(optimizer))
        self.rate = rate_of(optimizer)
        left = getattr(optimizer, "grad_scale", None)  # which a fused optimizer will divide by itself
        self._scaled = scaler is not None or left is not None
        end = iteration.end
        self.changed = end is None or not end.same(self.held)
        if self.changed or twice or self._scaled:
            scale = scale_of(scaler) if left is None else left
            found_inf = getattr(optimizer, "found_inf", None)
            self.gradients = Gradients([*self.held, *others], scale, found_inf, scaled=left is not None)
        else:
            assert end is not None
            self.gradients = end
        if iteration.deep is not None:
            iteration.deep.received(self.gradients, [*self.held, *others])

    @cached_property
    def norm(self) -> float:
        """Of the gradients, up to a divisor; NaN where there are none."""
        return self.gradients.norm(self.held)

    @property
    def broken(self) -> bool:
        """Whether the optimizer is about to use values that are not finite."""
        if math.isfinite(self.norm) or self.gradients.overflowed:
            return False
        return any(id(p) in self.gradients.readings for p in self.held)

    def reading(self, number: int) -> tuple[StepReading, bool]:
        """The reading of the step by the optimizer of this number, and whether gradients were changed uncounted."""
        iteration, gradients, end = self.iteration, self.gradients, self.iteration.end
        scale = gradients.scale if self._scaled else 1.0
        norm = self.norm / gradients.divisor
        before = None
        uncounted = False
        if end is not None and end is not gradients:
            before = end.norm(self.held) / scale
            uncounted = not self.changed and abs(norm - before) > ALIKE * before
            if not (self.changed or uncounted):
                before = None
        iteration.loss_scale = scale
        return StepReading(
            iteration.number,
            norm,
            self.rate,
            number,
            unclipped_norm=before,
            loss_scale=scale,
            passes=iteration.passes,
            skipped=gradients.overflowed,
            carried=iteration.carried,
            changed_late=iteration.changed_late,
        ), uncounted


def rate_of(optimizer: Optimizer) -> float:
    """The learning rate of its first group; NaN where it has none, or sets its own (Adafactor)."""
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    return math.nan if rate is None else float(rate)
