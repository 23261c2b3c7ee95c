"""A training run to be judged, and the registry of our own: `healthy/` and `faulty/`, a small function a model.

Add a model to any file there::

    @healthy(good=0.9)
    def zero_head() -> Training:
        "The last layer starts at zero, so the layers before it get no gradient in the first step."
        ...

    @faulty("dead", cause="learning_rate", where="conv2", good=0.9)
    def too_fast(planted: bool) -> Training:
        "The first steps of Adam push every unit below zero."
        ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Metric = Callable[[nn.Module], float]
Make = Callable[..., "Training"]


@dataclass
class Training:
    """A model with its loop, ready to start."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Any, Any], Tensor]
    """`loss(model, batch)`."""
    batches: list[Any]
    """One a step, `accumulate` of them where gradients are accumulated."""
    metric: Metric
    """What the model is for, measured when trained: higher is better."""
    accumulate: int = 1
    clip: float | None = None
    autocast: torch.dtype | None = None
    after: Callable[[int], None] | None = None
    """Called after each step of the ordinary loop: a scheduler, an average of the weights."""
    loop: Callable[[Any], float] | None = None
    """A step with a batch in a loop of its own, which gives the loss."""
    one_optimizer: bool = True
    """Whether `optimizer` steps all of the model; else there are others, and the watch is given none."""

    def train(self, after_step: Callable[[int, float], None] | None = None) -> list[float]:
        """Runs all of it; the losses."""
        losses: list[float] = []
        for step in range(len(self.batches) // self.accumulate):
            micro = self.batches[step * self.accumulate : (step + 1) * self.accumulate]
            losses.append(self.loop(micro[0]) if self.loop else self._step(micro))
            if self.after:
                self.after(step)
            if after_step:
                after_step(step, losses[-1])
        return losses

    def _step(self, micro: list[Any]) -> float:
        self.optimizer.zero_grad()
        total = 0.0
        for batch in micro:
            with torch.autocast("cpu", self.autocast, enabled=self.autocast is not None):
                loss = self.loss(self.model, batch)
            (loss / len(micro)).backward()
            total += loss.item() / len(micro)
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@dataclass(frozen=True)
class Case:
    """A named run, and what a right diagnosis of it holds."""

    name: str
    make: Make
    """`make()` for a healthy model; `make(planted)` for a faulty one. The seed is set before."""
    expect: tuple[frozenset[str], ...] = ()
    """Each set must be hit by one of its kinds; empty where nothing above a note may be said."""
    cause: str = "none"
    where: str = ""
    why: str = ""
    good: float = 0.0
    """The metric that a sound training reaches."""
    source: str = "own"
    stays_good: bool = False
    """Whether the metric is reached with the fault too: then the label is shown otherwise, see `why`."""

    @property
    def healthy(self) -> bool:
        return not self.expect

    def training(self, seed: int, planted: bool = True) -> Training:
        torch.manual_seed(seed)
        return self.make() if self.healthy or self.source != "own" else self.make(planted)


OWN: dict[str, Case] = {}


def healthy(good: float) -> Callable[[Make], Make]:
    """Enters a model that trains well: its metric reaches `good`."""

    def enter(make: Make) -> Make:
        _add(Case(_name(make), make, why=_why(make), good=good))
        return make

    return enter


def faulty(
    expect: str, *, cause: str, where: str = "", good: float, stays_good: bool = False
) -> Callable[[Callable[[bool], Training]], Callable[[bool], Training]]:
    """Enters a model with a planted fault: one kind, or several that are all true of it, divided by |."""

    def enter(make: Callable[[bool], Training]) -> Callable[[bool], Training]:
        kinds = (frozenset(expect.split("|")),)
        _add(Case(_name(make), make, kinds, cause, where, _why(make), good, stays_good=stays_good))
        return make

    return enter


def _add(case: Case) -> None:
    if case.name in OWN:
        raise ValueError(f"two models are called {case.name}")
    OWN[case.name] = case


def _name(make: Callable[..., Training]) -> str:
    return str(getattr(make, "__name__", "unnamed"))


def _why(make: Callable[..., Training]) -> str:
    if not make.__doc__:
        raise ValueError(f"{_name(make)} has no docstring that says why it is here")
    return " ".join(make.__doc__.split())


def own_cases() -> dict[str, Case]:
    """Every model in `healthy/` and `faulty/`."""
    here = Path(__file__).parent
    for folder in ("healthy", "faulty"):
        for file in sorted((here / folder).glob("[!_]*.py")):
            import_module(f"benchmarks.score.{folder}.{file.stem}")
    return OWN
