"""One training run with one seed: what came out, and what was wrong on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch

from undertow.cures.copying import copied
from undertow.cures.cure import Cure, NotApplicableError, failure
from undertow.cures.training import Training, in_order, split
from undertow.cures.trials.effects import Effects, measured_effects
from undertow.cures.trials.loop import After, loop, untold
from undertow.cures.trials.seeding import random_state_kept, seed_everything
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
    refused: str = ""
    """Why the cure does not apply to this training; then nothing was run."""
    metrics: tuple[tuple[int, float], ...] = ()
    """(step, metric) on the way, step 0 before the first one, where they were asked for."""
    effects: Effects | None = None
    """What the cure costs besides, where it was asked for."""
    transient: bool = False
    """The failure is of the machine (no memory, a process that died): a search that is taken up tries again."""
    seconds: float = field(default=0.0, compare=False)

    @property
    def failed(self) -> bool:
        return bool(self.reason)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(f.kind for f in self.findings or ())


@dataclass
class _SoFar:
    """A run so far, which outlives an exception in it."""

    losses: list[float] = field(default_factory=list)
    metrics: list[tuple[int, float]] = field(default_factory=list)
    findings: tuple[Finding, ...] | None = None
    effects: Effects | None = None


def run(
    training: Training,
    steps: int | None = None,
    *,
    seed: int = 0,
    cure: Cure | None = None,
    diagnose: bool = True,
    guarded: bool = True,
    points: int = 0,
    effects: bool = False,
    after: After = untold,
) -> Trial:
    """Run a training, or a cured copy of it, and judge it by its metric.

    Every random generator is seeded before the cure is applied and again before the first step, so that a cure's own
    draws shift neither the data nor the dropout masks of the run.  `guarded` turns an exception into the trial's
    result; otherwise it is raised.  The given model and optimizer stay as they are.

    The metric is also taken before the first step and at `points` places on the way, evenly spaced, where there are
    any; that changes no number of the run.  `effects` compares the cure's step with the control's; `after` is told of
    each step that is done.
    """
    began = perf_counter()
    so_far = _SoFar()
    metric, reason, transient = math.nan, "", False
    try:
        metric, reason = _run(so_far, training, steps, seed, cure, diagnose, points, effects, after)
        reason = reason or ("" if math.isfinite(metric) else say("cures.failed.metric", value=metric))
    except Exception as error:
        if not guarded or isinstance(error, NotApplicableError):
            raise
        reason, transient = failure(error), lacks_memory(error)
    return Trial(
        metric if math.isfinite(metric) else math.nan,
        tuple(so_far.losses),
        reason,
        so_far.findings,
        metrics=tuple(so_far.metrics),
        effects=so_far.effects,
        transient=transient,
        seconds=perf_counter() - began,
    )


def _run(
    so_far: _SoFar,
    training: Training,
    steps: int | None,
    seed: int,
    cure: Cure | None,
    diagnose: bool,
    points: int,
    effects: bool,
    after: After,
) -> tuple[float, str]:
    """The metric, and why the run failed."""
    seed_everything(seed)
    changed = cure.apply(training) if cure else copied(training)
    seed_everything(seed)
    source, held_out, steps = split(changed, steps)
    if effects:
        with suppress(Exception):  # of what cannot be measured, the cure's own trial is not to blame
            so_far.effects = measured_effects(training, changed, steps)
    at = {round(steps * i / points) for i in range(points)} if points else set()

    def told(step: int) -> None:
        if step in at:
            so_far.metrics.append((step, metric_between(changed, held_out)))
        after(step)

    seed_everything(seed)
    told(0)
    with _observed(changed) if diagnose else nullcontext() as watched:
        reason = loop(changed, in_order(source, steps), so_far.losses, told)
    so_far.findings = _above_a_note(watched) if watched else None
    metric = judge_metric(changed, held_out)
    if points:
        so_far.metrics.append((len(so_far.losses), metric if math.isfinite(metric) else math.nan))
    return metric, reason


def lacks_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def _observed(training: Training) -> Run:
    # With any larger budget the clock chooses the steps that are measured, and no two searches would be the same.
    return watch(training.model, optimizer=training.optimizer, budget=0.0)


def _above_a_note(watched: Run) -> tuple[Finding, ...] | None:
    try:
        return tuple(f for f in watched.diagnose().findings if f.severity != "note")
    except NothingObservedError:  # the run is judged by its metric alone; without a diagnosis it cannot be `cured`
        return None


def metric_between(training: Training, held_out: Sequence[Any]) -> float:
    """The metric in the middle of a run, which goes on as if it had not been taken."""
    modes = {module: module.training for module in training.model.modules()}
    with random_state_kept():
        metric = judge_metric(training, held_out)
    for module, mode in modes.items():
        module.training = mode
    return metric if math.isfinite(metric) else math.nan


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
