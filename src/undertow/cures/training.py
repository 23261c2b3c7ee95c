"""What a trial needs to run the user's training: `make(seed)` returns one of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from undertow.foundation import BatchError, InputError

Batches = Iterable[Any] | Callable[[], Iterable[Any]]
HELD_OUT = 5
"""One batch in five is held out where neither a metric nor held-out batches are given (the usual 80/20 split)."""


@dataclass
class Training:
    """One training run, ready to start.

    Parameters
    ----------
    model, optimizer:
        As the user's script makes them for one seed.
    loss:
        `loss(output, target)`, or `loss(model, batch)` where the first parameter is called `model`.
    batches:
        The batches of the whole run in order, one optimizer step each: a list, a DataLoader, or a callable that gives
        them afresh.  A run with more steps than batches goes through them again.
    metric:
        `metric(model) -> float`, higher is better.  Without one: minus the loss on held-out batches.
    held_out:
        Batches for the metric's stand-in; without them the last fifth of `batches` is kept out of training.
    clip:
        Clip the gradient's total norm to this before each step; or a function of the list of parameters that changes
        their gradients in place, as `functools.partial(nn.utils.clip_grad_value_, clip_value=1.0)`.
    scheduler:
        What changes the learning rate: its `step()` is called after each step of the optimizer, as that of torch's
        schedulers over this optimizer.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[..., Tensor]
    batches: Batches
    metric: Callable[[nn.Module], float] | None = None
    held_out: Sequence[Any] | None = None
    clip: float | Callable[[list[nn.Parameter]], Any] | None = None
    scheduler: Any = None


def plain(model: nn.Module) -> nn.Module:
    """The model that torch.compile was given, with the same weights: hooks and changes don't reach compiled code."""
    return getattr(model, "_orig_mod", model)


def check(training: Any) -> Training:
    """The training itself, on the plain model where that is compiled.

    Raises
    ------
    InputError
        It is no Training, or its model, optimizer, loss, metric, clip or scheduler is of the wrong kind.
    """
    if not isinstance(training, Training):
        raise InputError(
            f"{type(training).__name__} from make(seed)",
            "an undertow.Training",
            "return ut.Training(model, optimizer, loss, batches)",
        )
    for name, kind in (("model", nn.Module), ("optimizer", torch.optim.Optimizer)):
        if not isinstance(value := getattr(training, name), kind):
            raise InputError(
                f"Training.{name} of type {type(value).__name__}",
                f"a torch {kind.__name__}",
                "ut.Training(model, optimizer, loss, batches), in this order",
            )
    if not callable(training.loss) or not (training.metric is None or callable(training.metric)):
        raise InputError(
            "a loss or metric that cannot be called",
            "loss(output, target) and metric(model)",
            "loss=torch.nn.functional.cross_entropy, metric=lambda model: accuracy(model, x, y)",
        )
    if not (training.clip is None or callable(training.clip) or training.clip > 0):
        raise InputError(f"Training.clip={training.clip!r}", "a positive total norm, a function, or None", "clip=1.0")
    if training.scheduler is not None:
        _check_scheduler(training.scheduler, training.optimizer)
    return training if plain(training.model) is training.model else replace(training, model=plain(training.model))


def _check_scheduler(scheduler: Any, optimizer: torch.optim.Optimizer) -> None:
    name = type(scheduler).__name__
    example = "torch.optim.lr_scheduler.StepLR(optimizer, 100)"
    if not callable(getattr(scheduler, "step", None)):
        raise InputError(f"Training.scheduler of type {name}", "one with step()", example)
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise InputError(f"a {name}, whose step needs a metric", "a scheduler whose step() needs nothing", example)
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise InputError(f"a {name} over another optimizer", "one over Training.optimizer", example)


def length(training: Training) -> int:
    """The number of batches of the run."""
    batches = training.batches() if callable(training.batches) else training.batches
    return len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches_afresh(training))


def batches_afresh(training: Training) -> Iterator[Any]:
    """The batches from the first one on.

    Raises
    ------
    BatchError
        They can be read only once, or are no batches.
    """
    batches = training.batches() if callable(training.batches) else training.batches
    if isinstance(batches, Iterable) and not (isinstance(batches, Iterator) and not callable(training.batches)):
        return iter(batches)
    raise BatchError(
        f"batches of type {type(batches).__name__}",
        "something to read again and again",
        "batches=lambda: my_batches(), or batches=list(my_batches)",
    )


def first_batch(training: Training) -> Any:
    """The first batch of the run; BatchError where there is none."""
    for batch in islice(batches_afresh(training), 1):
        return batch
    raise BatchError("no batches", "at least one batch in Training.batches", "batches=[(x, y)], or batches=loader")


def split(training: Training, steps: int | None) -> tuple[list[Any] | Training, Sequence[Any], int]:
    """What to train on, what to hold out for the metric's stand-in, and the number of steps.

    Raises
    ------
    BatchError
        Too few batches.
    """
    first_batch(training)
    if training.metric is not None or training.held_out:
        if steps is None:
            steps = sum(1 for _ in batches_afresh(training))
        return training, training.held_out or (), steps
    needed = None if steps is None else math.ceil(steps * HELD_OUT / (HELD_OUT - 1))
    batches = list(islice(batches_afresh(training), needed))
    if len(batches) < 2:
        raise BatchError(
            "a single batch and no metric",
            "batches to train on and others to judge by",
            "metric=lambda model: accuracy(model), or held_out=[(x, y)]",
        )
    kept = -(-len(batches) // HELD_OUT)
    return batches[:-kept], batches[-kept:], steps or len(batches) - kept


def in_order(source: list[Any] | Training, steps: int) -> Iterator[Any]:
    """`steps` batches, from the first one again after the last."""
    given = 0
    while given < steps:
        for batch in islice(batches_afresh(source) if isinstance(source, Training) else source, steps - given):
            given += 1
            yield batch
