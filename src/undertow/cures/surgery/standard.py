"""Inputs brought to mean 0 and variance 1, feature by feature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 1e-3
"""Added to the spread: a feature that hardly varies is not blown up."""


@dataclass(frozen=True)
class Standardise:
    """A forward pre-hook: x ← (x − mean) / (std + 10⁻³); a value that is missing or not finite becomes the mean."""

    mean: Tensor
    std: Tensor

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *others = args
        return (torch.where(torch.isfinite(x), (x - self.mean) / (self.std + LEAST), 0.0), *others)


def statistics(batches: Iterable[Any]) -> Standardise:
    """Of the last dimension of the inputs of all batches (of images, the channels), over their finite values."""
    inputs = [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]
    dim = 1 if inputs[0].dim() > 3 else -1
    rows = torch.cat([x.movedim(dim, -1).reshape(-1, x.shape[dim]) for x in inputs]).double()
    known = torch.isfinite(rows)
    count = known.sum(0).clamp(min=1)
    mean = rows.where(known, 0.0).sum(0) / count
    spread = ((rows - mean).where(known, 0.0).square().sum(0) / count).sqrt()
    shape = (-1, *[1] * (inputs[0].dim() - 2)) if dim == 1 else (-1,)
    return Standardise(mean.to(inputs[0].dtype).reshape(shape), spread.to(inputs[0].dtype).reshape(shape))


def standardise_(model: nn.Module, batches: Iterable[Any]) -> None:
    """The model standardises its input from now on, with the statistics of these batches of the training data."""
    model.register_forward_pre_hook(statistics(batches))
