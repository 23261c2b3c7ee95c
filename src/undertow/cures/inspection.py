"""A model before an expensive job: what is foreseen, what one batch shows, and what a few steps show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from undertow.cures.copying import copied
from undertow.cures.training import Training, check, first_batch, in_order
from undertow.cures.trials.loop import loop
from undertow.cures.trials.seeding import random_state_kept, seed_everything
from undertow.diagnosis import Diagnosis, Evidence, Finding, one_pass, watch
from undertow.diagnosis.ignored import split_ignored
from undertow.foundation import InputError
from undertow.theory import Forecast, forecast

STEPS = 20
"""A fault that is there at the start shows within five steps, one that the steps make within twenty."""


@dataclass(frozen=True)
class Inspection:
    """What a forecast and a short observation say together."""

    forecast: Forecast
    diagnosis: Diagnosis
    findings: tuple[Finding, ...]
    """Of both, worst first: a fault that is measured and foreseen is one finding, one that is foreseen alone a note."""
    ignored: tuple[Finding, ...] = ()
    unused: tuple[str, ...] = ()
    """What was to be ignored and was not found."""
    failure: str = ""
    """Why the training broke off before its steps were done."""

    @property
    def trained(self) -> bool:
        """Whether optimizer steps were seen, not only a backward pass."""
        return bool(self.diagnosis.recording and self.diagnosis.recording.optimizers)

    @property
    def healthy(self) -> bool:
        return all(f.severity == "note" for f in self.findings)


def inspect(
    training: Training | tuple[nn.Module, Any], *, steps: int = STEPS, seed: int = 0, ignore: Sequence[str] = ()
) -> Inspection:
    """Forecast a model and observe its first steps, each measured whole, on a copy; nothing given is changed.

    Parameters
    ----------
    training:
        As `make(seed)` gives it; or `(model, inputs)`, of which one backward pass from a random ∂L/∂output is measured.
    steps:
        Optimizer steps to observe, at least one.
    ignore:
        Findings that do not count: `kind` or `kind:place`, with * for any part of the place.

    Raises
    ------
    InputError
        No training, or less than one step.
    ModelError, BatchError, LossError
        One of the three cannot be used.
    """
    if steps < 1:
        raise InputError(f"steps={steps}", "at least one step to observe", f"steps={STEPS}")
    split_ignored((), ignore)  # a wrong pattern is told before any work is done
    with random_state_kept():
        if isinstance(training, tuple):
            model, inputs = training
            foretold, diagnosis, failure = forecast(model, inputs), one_pass(model, inputs, seed), ""
        else:
            foretold, diagnosis, failure = _trained(check(training), steps, seed)
    counted, ignored, unused = split_ignored(_together(foretold, diagnosis), ignore)
    return Inspection(foretold, diagnosis, counted, ignored, unused, failure)


def _trained(training: Training, steps: int, seed: int) -> tuple[Forecast, Diagnosis, str]:
    seed_everything(seed)
    training = copied(training)
    batch = first_batch(training)
    inputs = batch[0] if isinstance(batch, tuple | list) and len(batch) > 1 else batch
    foretold = forecast(training.model, inputs)
    seed_everything(seed)
    losses: list[float] = []
    with watch(training.model, training.optimizer, budget=None) as run:
        failure = loop(training, in_order(training, steps), losses)
    return foretold, run.diagnose(), failure


def _together(foretold: Forecast, diagnosis: Diagnosis) -> list[Finding]:
    """Measurement overrules theory: what is foreseen and does not show is worth a note."""
    seen = {f.kind for f in diagnosis.findings}
    unseen = Evidence("measured_without", float(diagnosis.measured))
    notes = [
        replace(f, severity="note", counter_evidence=(*f.counter_evidence, unseen))
        for f in foretold.findings
        if f.kind not in seen
    ]
    return [*diagnosis.findings, *notes]
