"""Targets brought to mean 0 and variance 1 for the loss, while the model's output stays in their units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from undertow.probe import objective


@dataclass(eq=False)
class Units:
    """A forward hook: y = mean + std · f(x), but for the loss of a training step, which takes f(x) itself."""

    mean: Tensor
    std: Tensor
    on: bool = True

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output * self.std + self.mean if self.on else output

    @contextmanager
    def off(self) -> Iterator[None]:
        """The model's output is f(x) inside the block."""
        self.on = False
        try:
            yield
        finally:
            self.on = True


@dataclass(eq=False)
class StandardLoss:
    """The user's loss of f(x) and (target − mean) / std in training, and in the targets' own units in evaluation."""

    loss: Callable[..., Tensor]
    units: Units

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        if not model.training:
            return objective(self.loss)(model, batch)
        inputs, target = batch
        with self.units.off():
            return objective(self.loss)(model, (inputs, (target - self.units.mean) / self.units.std))


def target_statistics(batches: Iterable[Any]) -> Units | None:
    """Mean and spread of the targets of (inputs, target) batches, of several outputs each its own.

    None where there are none, where they are no numbers to be met (classes, probabilities), or don't vary.
    """
    targets = [b[1] for b in batches if isinstance(b, tuple | list) and len(b) == 2]
    if not targets or not all(isinstance(t, Tensor) and t.is_floating_point() for t in targets):
        return None
    several = 1 < targets[0].dim() <= 3 and targets[0].shape[-1] > 1
    rows = torch.cat([t.reshape(-1, t.shape[-1] if several else 1) for t in targets]).double()
    if not torch.isfinite(rows).all() or bool(((rows >= 0) & (rows <= 1)).all()):
        return None
    mean, std = rows.mean(0), rows.std(0, unbiased=False)
    if not several:
        mean, std = mean.squeeze(0), std.squeeze(0)
    like = targets[0].dtype
    return Units(mean.to(like), std.to(like)) if bool((std > 0).all()) else None


def standardise_targets(model: nn.Module, loss: Callable[..., Tensor], batches: Iterable[Any]) -> Callable[..., Tensor]:
    """The loss to train with, with the statistics of these batches; the model's output gets the targets' units.

    Raises
    ------
    ValueError
        The batches have no targets that could be standardised.
    """
    units = target_statistics(batches)
    if units is None:
        raise ValueError("no targets of a regression in these batches")
    model.register_forward_hook(units)
    return StandardLoss(loss, units)
