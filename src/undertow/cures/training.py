"""What a trial needs to run the user's training: `make(seed)` returns one of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Batches = Sequence[Any] | Callable[[], Iterable[Any]]


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
        The batches of the whole run in order, one optimizer step each, or a callable that gives them afresh.
    metric:
        `metric(model) -> float`, higher is better.  Without one: minus the loss on held-out batches.
    held_out:
        Batches for the metric's stand-in; without them the last fifth of `batches` is kept out of training.
    clip:
        Clip the gradient's total norm to this before each step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[..., Tensor]
    batches: Batches
    metric: Callable[[nn.Module], float] | None = None
    held_out: Sequence[Any] | None = None
    clip: float | None = None
