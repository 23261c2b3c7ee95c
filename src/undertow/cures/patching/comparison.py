"""Whether a patched training is the one that the trial ran."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from undertow.cures.copying import copied
from undertow.cures.training import Training, in_order
from undertow.cures.trials.seeding import seed_everything
from undertow.cures.trials.trial import loop

STEPS = 2
"""The first step shows the model and the loss, the second what the optimizer made of the gradients."""
CLOSE = 1e-5
"""Relative: a rate of 0.01 beside one of 0.1 · 0.1 is off by 10⁻¹⁶, which a few steps make 10⁻⁷."""


class Fingerprint:
    """What is compared of a training: its structure, its starting weights, and its first steps on a copy."""

    def __init__(self, training: Training, seed: int) -> None:
        self.structure = dict(_structure(training))
        self.weights = {name: value.detach().clone() for name, value in training.model.state_dict().items()}
        self.losses, self.after = _first_steps(training, seed)

    def unlike(self, other: Fingerprint) -> str:
        """The first part of the structure that differs, in words of code; empty where all are the same."""
        mine, its = self.structure, other.structure
        for part in dict.fromkeys([*mine, *its]):
            if not _alike(mine.get(part), its.get(part)):
                return f"{part}: {_shown(mine.get(part))} / {_shown(its.get(part))}"
        return ""

    def moves_unlike(self, other: Fingerprint) -> str:
        """As `unlike`, of the starting weights and of the first steps."""
        for name, value in self.weights.items():
            if not _same(value, other.weights[name]):
                return f"{name} = {_shown(value)} / {_shown(other.weights[name])}"
        if len(self.losses) != len(other.losses) or not all(map(_near, self.losses, other.losses)):
            return f"loss {self.losses} / {other.losses}"
        for name, value in self.after.items():
            if not torch.allclose(value, other.after[name], rtol=CLOSE, atol=CLOSE, equal_nan=True):
                return f"{name} after {STEPS} steps"
        return ""


def _structure(training: Training) -> Iterator[tuple[str, Any]]:
    names: dict[int, str] = {}
    for path, module in training.model.named_modules():
        if not list(module.children()) and path:
            yield path, _kind(module)
    for path, parameter in training.model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), path)
        yield f"{path}", (tuple(parameter.shape), str(parameter.dtype), str(parameter.device), parameter.requires_grad)
    yield "optimizer", _kind(training.optimizer)
    yield from _groups(training.optimizer, names)
    for part in ("clip", "scheduler", "loss"):
        yield part, _described(getattr(training, part))


def _groups(optimizer: Optimizer, names: dict[int, str]) -> Iterator[tuple[str, Any]]:
    for index, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            held = sorted(names.get(id(p), "?") for p in value) if key == "params" else value
            yield f"optimizer.param_groups[{index}][{key!r}]", held


def _kind(thing: Any) -> str:
    """The type's name; of a class whose source was rewritten, that of the class that the user wrote."""
    return type(thing).__name__


def _described(value: Any) -> Any:
    if isinstance(value, partial):
        return (_described(value.func), tuple(map(_described, value.args)), sorted(value.keywords.items()))
    if isinstance(value, nn.Module):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _first_steps(training: Training, seed: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    seed_everything(seed)
    copy, losses = copied(training), []
    seed_everything(seed)
    loop(copy, in_order(copy, STEPS), losses)
    return losses, copy.model.state_dict()


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return _near(a, float(b))
    return a == b


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=CLOSE) or a == b or (math.isnan(a) and math.isnan(b))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=CLOSE, atol=0, equal_nan=True)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"rms {value.double().square().mean().sqrt():.4g}"
    return str(value)
