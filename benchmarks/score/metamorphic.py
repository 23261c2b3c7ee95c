"""Changes under which a fault stays the fault that it is, and so may change nothing of the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from benchmarks.score.sources import scaled
from benchmarks.score.training import Training
from torch import Tensor

Change = Callable[[Training], Training]


def accumulated(training: Training, parts: int = 4) -> Training:
    """Each batch in four parts, each with its own backward pass, so that a step's gradient is the same."""
    whole = [b for b in training.batches if _divides(b, parts)]
    if len(whole) < len(training.batches) or training.accumulate > 1:
        return training
    split = [part for b in whole for part in zip(*(t.chunk(parts) for t in b), strict=True)]
    return replace(training, batches=split, accumulate=parts)


def four_times_the_batch(training: Training) -> Training:
    """The gradient of four batches a step, and a quarter of the steps."""
    if training.accumulate > 1:
        return training
    usable = len(training.batches) // 4 * 4
    return replace(training, batches=training.batches[:usable], accumulate=4)


def _divides(batch: object, parts: int) -> bool:
    return isinstance(batch, tuple) and all(isinstance(t, Tensor) and len(t) % parts == 0 for t in batch)


def autocast(training: Training) -> Training:
    """Matrix products in bfloat16."""
    return replace(training, autocast=torch.bfloat16)


def clipped(training: Training, norm: float) -> Training:
    """Clipping of the gradient's norm, where the training has none of its own."""
    return training if training.clip else replace(training, clip=norm)


CHANGES: dict[str, Change] = {
    "loss × 1e-06": partial(scaled, factor=1e-6),
    "loss × 100000": partial(scaled, factor=1e5),
    "bf16 autocast": autocast,
    "accumulation": accumulated,
    "batch × 4": four_times_the_batch,
    "clipping to 1": partial(clipped, norm=1.0),
    "loss × 0.001": partial(scaled, factor=1e-3),
    "loss × 1000": partial(scaled, factor=1e3),
    "clipping out of reach": partial(clipped, norm=1e30),
}
"""The first six are the telling ones. Clipping to 1, four batches in one and bfloat16 do change the training, and may
cure it or make it ill: whether they did is measured (`sources.label_holds`)."""


def changeable(training: Training) -> bool:
    """Whether it runs in the ordinary loop, of which these changes are made."""
    return training.loop is None
