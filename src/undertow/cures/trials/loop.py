"""The user's loop, as every trial runs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from undertow.cures.training import Training
from undertow.foundation import say
from undertow.probe import Objective, objective

After = Callable[[int], None]


def untold(step: int) -> None:
    pass


def loop(training: Training, batches: Any, losses: list[float], after: After = untold) -> str:
    """Train; the reason where the numbers stopped being finite.  `after` is told of each step that is done."""
    model, value_of = training.model.train(), objective(training.loss)
    for batch in batches:
        loss = step(training, value_of, batch)
        losses.append(loss.item())
        # A single infinite loss may pass; weights that are not finite never become so again.
        if not math.isfinite(losses[-1]) and not _finite(model):
            return say("cures.failed.nonfinite", step=len(losses) - 1)
        after(len(losses))
    return "" if _finite(model) else say("cures.failed.nonfinite", step=len(losses) - 1)


def step(training: Training, value_of: Objective, batch: Any) -> Tensor:
    """One step of the optimizer and of the schedule; the loss before it."""
    training.optimizer.zero_grad()
    loss = value_of(training.model, batch)
    loss.backward()
    clip(training)
    training.optimizer.step()
    if training.scheduler is not None:
        training.scheduler.step()
    return loss


def clip(training: Training) -> None:
    """Clips the gradients as the training wants it."""
    if callable(training.clip):
        training.clip(list(training.model.parameters()))
    elif training.clip is not None:
        nn.utils.clip_grad_norm_(training.model.parameters(), training.clip)


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())
