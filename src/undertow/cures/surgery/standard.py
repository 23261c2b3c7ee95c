"""Inputs brought to mean 0 and variance 1, feature by feature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ROUNDING = 1e-6
"""Of a feature's largest value: what varies by less is constant but for the rounding of float32 (2⁻²³ = 1.2e-7)."""


@dataclass(frozen=True)
class Standardise:
    """A forward pre-hook: x ← (x − mean) / std; what is missing or not finite, or never varied, becomes 0."""

    mean: Tensor
    std: Tensor
    """Infinite for a feature without a finite value or without variance."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, *others = args
        return (torch.where(torch.isfinite(x), (x - self.mean) / self.std, 0.0), *others)


def statistics(batches: Iterable[Any]) -> Standardise:
    """Of the last dimension of the inputs of all batches (of images, the channels), over their finite values."""
    inputs = [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]
    dim = 1 if inputs[0].dim() > 3 else -1
    rows = torch.cat([x.movedim(dim, -1).reshape(-1, x.shape[dim]) for x in inputs]).double()
    known = torch.isfinite(rows)
    count = known.sum(0).clamp(min=1)
    mean = rows.where(known, 0.0).sum(0) / count
    spread = ((rows - mean).where(known, 0.0).square().sum(0) / count).sqrt()
    varies = spread > ROUNDING * rows.where(known, 0.0).abs().amax(0)
    spread = spread.where(varies, torch.inf)
    shape = (-1, *[1] * (inputs[0].dim() - 2)) if dim == 1 else (-1,)
    return Standardise(mean.to(inputs[0].dtype).reshape(shape), spread.to(inputs[0].dtype).reshape(shape))


def standardise_(model: nn.Module, batches: Iterable[Any]) -> None:
    """The model standardises its input from now on, with the statistics of these batches of the training data."""
    model.register_forward_pre_hook(statistics(batches))
