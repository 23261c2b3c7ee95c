"""Learning rate schedules of a training: what they keep of the rates, wherever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.optim import Optimizer

IN_GROUPS = ("lr", "initial_lr", "max_lr", "min_lr")
"""Where torch's schedulers keep rates in a parameter group."""
IN_SCHEDULERS = ("base_lrs", "max_lrs", "_last_lr")


def parts(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those that it is made of."""
    if scheduler is not None:
        yield scheduler
        for inner in getattr(scheduler, "_schedulers", ()):
            yield from parts(inner)


def base_rates(optimizer: Optimizer) -> list[float]:
    """The rate of each group that its schedule goes by: in a warm-up from 0 the present one says nothing."""
    return [float(group.get("initial_lr", group.get("lr", 1.0))) for group in optimizer.param_groups]


def rescale(optimizer: Optimizer, scheduler: Any, factors: Sequence[float]) -> None:
    """Every rate of each group, present and to come, times its factor."""
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group.update({key: group[key] * factor for key in IN_GROUPS if key in group})
    for part in parts(scheduler):
        for name in IN_SCHEDULERS:
            if rates := getattr(part, name, None):
                setattr(part, name, [rate * factor for rate, factor in zip(rates, factors, strict=True)])
        if hasattr(part, "eta_min"):
            part.eta_min *= factors[0]


def hand_over(scheduler: Any, optimizer: Optimizer) -> None:
    """The schedule goes on over another optimizer with as many groups.

    torch's schedulers warn if they are stepped before the optimizer, which they know by a mark on `optimizer.step`;
    neither a copy nor another optimizer has it, so that they are told that the first step is over.
    """
    for part in parts(scheduler):
        part.optimizer = optimizer
        if "_step_count" in vars(part):  # a sequence of schedulers has none of its own
            part._step_count = max(part._step_count, 2)
