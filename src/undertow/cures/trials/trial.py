"""One training run with one seed: what came out, and what was wrong on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import nn

from undertow.cures.copying import copied
from undertow.cures.cure import Cure, NotApplicableError, failure
from undertow.cures.training import Training, in_order, split
from undertow.cures.trials.seeding import seed_everything
from undertow.diagnosis import Finding, Run, watch
from undertow.foundation import InputError, NothingObservedError, say
from undertow.probe import objective


@dataclass(frozen=True)
class Trial:
    """The result of a run; a NaN, an exception or a lack of memory is a result too."""

    metric: float
    """NaN where there is none: the metric is not finite, or the run broke off with an exception."""
    losses: tuple[float, ...] = ()
    """The training loss at each step."""
    reason: str = ""
    """Why the run failed: numbers that are not finite, or an exception; empty for a sound run."""
    findings: tuple[Finding, ...] | None = None
    """Findings above a note; None where the run was not diagnosed."""
    seconds: float = field(default=0.0, compare=False)

    @property
    def failed(self) -> bool:
        return bool(self.reason)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(f.kind for f in self.findings or ())


def run(
    training: Training,
    steps: int | None = None,
    *,
    seed: int = 0,
    cure: Cure | None = None,
    diagnose: bool = True,
    guarded: bool = True,
) -> Trial:
    """Run a training, or a cured copy of it, and judge it by its metric.

    Every random generator is seeded before the cure is applied and again before the first step, so that a cure's own
    draws shift neither the data nor the dropout masks of the run.  `guarded` turns an exception into the trial's
    result; otherwise it is raised.  The given model and optimizer stay as they are.
    """
    began = perf_counter()
    losses: list[float] = []
    findings: tuple[Finding, ...] | None = None
    metric, reason = math.nan, ""
    try:
        seed_everything(seed)
        training = cure.apply(training) if cure else copied(training)
        seed_everything(seed)
        source, held_out, steps = split(training, steps)
        seed_everything(seed)
        with _observed(training) if diagnose else nullcontext() as watched:
            reason = loop(training, in_order(source, steps), losses)
        findings = _above_a_note(watched) if watched else None
        metric = judge_metric(training, held_out)
        reason = reason or ("" if math.isfinite(metric) else say("cures.failed.metric", value=metric))
    except Exception as error:
        if not guarded or isinstance(error, NotApplicableError):
            raise
        reason = failure(error)
    return Trial(metric if math.isfinite(metric) else math.nan, tuple(losses), reason, findings, perf_counter() - began)


def loop(training: Training, batches: Any, losses: list[float]) -> str:
    """Train; the reason where the numbers stopped being finite."""
    model, optimizer, value_of = training.model.train(), training.optimizer, objective(training.loss)
    for batch in batches:
        optimizer.zero_grad()
        loss = value_of(model, batch)
        loss.backward()
        clip(training)
        optimizer.step()
        losses.append(loss.item())
        # A single infinite loss may pass; weights that are not finite never become so again.
        if not math.isfinite(losses[-1]) and not _finite(model):
            return say("cures.failed.nonfinite", step=len(losses) - 1)
    return "" if _finite(model) else say("cures.failed.nonfinite", step=len(losses) - 1)


def clip(training: Training) -> None:
    """Clips the gradients as the training wants it."""
    if callable(training.clip):
        training.clip(list(training.model.parameters()))
    elif training.clip is not None:
        nn.utils.clip_grad_norm_(training.model.parameters(), training.clip)


def _observed(training: Training) -> Run:
    # With any larger budget the clock chooses the steps that are measured, and no two searches would be the same.
    return watch(training.model, optimizer=training.optimizer, budget=0.0)


def _above_a_note(watched: Run) -> tuple[Finding, ...] | None:
    try:
        return tuple(f for f in watched.diagnose().findings if f.severity != "note")
    except NothingObservedError:  # the run is judged by its metric alone; without a diagnosis it cannot be `cured`
        return None


def _finite(model: nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


def judge_metric(training: Training, held_out: Sequence[Any]) -> float:
    """The metric in evaluation mode, or minus the mean loss on the held-out batches.

    Raises
    ------
    InputError
        A metric that is no number.
    """
    model = training.model.eval()
    if training.metric is None:
        value_of = objective(training.loss)
        return -sum(value_of(model, batch).item() for batch in held_out) / len(held_out)
    with torch.no_grad():
        value = training.metric(model)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"a metric that returned a {type(value).__name__}",
            "one number, higher is better",
            "metric=lambda model: float((model(x).argmax(1) == y).float().mean())",
        ) from error
