"""What a cure costs besides: parameters, the time of a step, what is kept for the backward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from undertow.cures.copying import copied
from undertow.cures.training import Training, first_batch
from undertow.cures.trials.loop import step
from undertow.probe import objective

PAIRS = 15
"""Pairs of steps that are timed at most."""
SHARE = 0.02
"""What timing may cost of a whole training, by steps."""
FEWEST = 5
"""Pairs at least: other programs lengthen a step and never shorten it, so that the shortest of a few is the step."""


@dataclass(frozen=True)
class Effects:
    """Of a cure beside the control, each as (before, after)."""

    parameters_before: int
    """Numbers that the optimizer trains or that stay frozen."""
    parameters_after: int
    kept_before: int
    """Bytes that one batch keeps for its backward pass, weights left out; on a GPU the peak of one whole step."""
    kept_after: int
    step_ratio: float = field(default=1.0, compare=False)
    """Seconds of a step after over before: the shortest of several steps on one batch, taken in turn."""

    @property
    def parameters(self) -> float:
        """After over before."""
        return _ratio(self.parameters_before, self.parameters_after)

    @property
    def kept(self) -> float:
        """After over before."""
        return _ratio(self.kept_before, self.kept_after)


def measured_effects(before: Training, after: Training, steps: int) -> Effects:
    """Both on their first batch, on copies: neither is changed; random numbers are drawn."""
    pair = copied(before), copied(after)
    kept = [_kept(training) for training in pair]
    # the first step makes the optimizer's state, and is never the shortest
    times = [[_seconds(t) for t in pair] for _ in range(1 + max(FEWEST, min(PAIRS, round(steps * SHARE))))]
    before_s, after_s = (min(column) for column in zip(*times, strict=True))
    return Effects(*(_parameters(t) for t in pair), *kept, step_ratio=after_s / before_s)


def _seconds(training: Training) -> float:
    batch, _ = first_batch(training), training.model.train()
    _wait(training)
    began = perf_counter()
    step(training, objective(training.loss), batch)
    _wait(training)
    return perf_counter() - began


def _kept(training: Training) -> int:
    batch, model = first_batch(training), training.model.train()
    if device := _cuda(training):
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        step(training, objective(training.loss), batch)
        return torch.cuda.max_memory_allocated(device) - held
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = objective(training.loss)(model, batch)
    del loss  # the graph kept every address taken until here
    return sum(seen.values())


def _cuda(training: Training) -> torch.device | None:
    return next((p.device for p in training.model.parameters() if p.is_cuda), None)


def _wait(training: Training) -> None:
    if device := _cuda(training):
        torch.cuda.synchronize(device)


def _parameters(training: Training) -> int:
    return sum(p.numel() for p in training.model.parameters())


def _ratio(before: int, after: int) -> float:
    return after / before if before else float("nan")
