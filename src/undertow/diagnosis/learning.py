"""Whether a run has learned more than the mean of its targets: a fault that holds nothing back is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.course import spread
from undertow.foundation import Evidence
from undertow.record import LossReading, Recording, Snapshot

ENOUGH = 20
"""Steps before which a run is not asked: the time in which a fault is to be reported."""
LEARNED = 0.1
"""A tenth of what the mean leaves open is explained: a tenth of the variance, for a squared error.  Empirical."""
CENTRED = 0.3
"""The mean of the output's gradient beside its rms, below which the outputs' mean is learned: a tenth of the square."""
WINDOW = 20
"""Losses whose median is taken."""
DEVIATIONS = 2.0
"""Standard errors that what was explained must exceed; two are chance in 2 %."""


@dataclass(frozen=True)
class Learning:
    """Shares between 0 (nothing) and 1; NaN where it can't be told.  Each is less two standard errors."""

    output: float
    """Of the variance of ∂L/∂output about its mean, how much is gone."""
    loss: float
    """Of the loss that was left once the outputs' mean was learned, how much is gone."""

    @property
    def share(self) -> float:
        """The larger of the two, where they could be told."""
        return max((s for s in (self.output, self.loss) if not math.isnan(s)), default=0.0)

    @property
    def any(self) -> bool:
        return self.share > LEARNED

    @property
    def evidence(self) -> Evidence:
        """What speaks against a finding that learning is held back."""
        return Evidence("explained", self.share, None, LEARNED, "beyond_the_mean")


def learning(recording: Recording) -> Learning | None:
    """None where the run is too short to tell, or no optimizer steps.

    A bias alone takes much of a loss whose targets are not centred, and reads nothing of the input: it is left out, by
    the gradient's mean.
    """
    if recording.last_step < ENOUGH or not recording.optimizers:
        return None
    if any(not math.isfinite(s.gradient_norm) for s in recording.steps[-ENOUGH:]):
        return Learning(0.0, 0.0)
    measured = [s for s in recording.snapshots if s.ledger.path and s.ledger.path[-1].backward_rms > 0]
    late = [s for s in recording.lately if s.ledger.path]
    early = [s for s in measured[:5] if s not in late]
    left = _left_of(early, late)
    return Learning(_of_output(early, late, left), _of_loss(measured, recording.losses, left))


def _left_of(early: Sequence[Snapshot], late: Sequence[Snapshot]) -> float:
    """What is left of the output's variance, 1 where it has grown: an output that was too large was made by the model
    alone, and to lose it is not to learn."""
    if not early or not late:
        return 1.0
    start, now = (median(s.ledger.path[-1].forward.std ** 2 for s in part) for part in (early, late))
    return min(1.0, now / start) if start > 0 else 1.0


def _of_output(early: Sequence[Snapshot], late: Sequence[Snapshot], left: float) -> float:
    if not early or not late:
        return math.nan
    start, now = (median(_variance(s) for s in part) for part in (early, late))
    start *= left
    if not start > 0:
        return math.nan
    samples = [sum(max(s.samples, 1) for s in part) for part in (early, late)]
    error = now / start * math.sqrt(2 / samples[0] + 2 / samples[1])
    return 1 - now / start - DEVIATIONS * error


def _variance(snapshot: Snapshot) -> float:
    """Of the gradient at the model's last site about its mean, without the loss scaler's factor."""
    return (snapshot.ledger.path[-1].backward.std / snapshot.stage.loss_scale) ** 2


def _of_loss(measured: Sequence[Snapshot], losses: Sequence[LossReading], left: float) -> float:
    centred = next((s.step for s in measured if _is_centred(s)), 0)
    values = [r.value for r in losses if r.step >= centred and math.isfinite(r.value)]
    size = min(WINDOW, len(values) // 2)
    if size < 5 or min(values) < 0:  # the share of a loss with no floor at 0 says nothing
        return math.nan
    early, late = values[:size], values[-size:]
    start = median(early) * left
    if not start > 0:
        return math.nan
    error = math.hypot(spread(early), spread(late)) * math.sqrt(math.pi / 2 / size)
    return 1 - (median(late) + DEVIATIONS * error) / start


def _is_centred(snapshot: Snapshot) -> bool:
    gradient = snapshot.ledger.path[-1].backward
    return abs(gradient.mean) < CENTRED * gradient.rms
