"""The flow is fine, and the weights do not move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from undertow.diagnosis import needs
from undertow.diagnosis.course import Course, course
from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.movement import agreement, lost, paths
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding, NotJudged
from undertow.record import Recording, StepReading

CURES = {"learning_rate": ("learning_rate", "adam")}


@rule
@dataclass(frozen=True)
class TooSmallLearningRate(Rule):
    """The flow is fine, and the weights do not move: the steps are too short, or lost in rounding.

    What
    ----
    All steps together can have changed no weight by more than a hundredth of its size and have promised less than a
    tenth of the loss; or half of a weight's values that have a gradient stay as they are, because the updates are
    below what the number format can tell apart.  And the loss has not fallen.

    Why it hurts
    ------------
    The run ends with the model that it began with.

    Evidence
    --------
    The sum of the relative updates ‖Δw‖ / ‖w‖ of each weight, measured and bounded in between; what the steps promised
    of the loss to first order; the share of updates lost in rounding; and whether batches agree on where to go.

    Counter-evidence
    ----------------
    A loss that falls all the same; a single step that promised the whole loss; a rate that still rises (warm-up);
    batches that pull each elsewhere, as they do around a minimum: a model that has converged has nowhere to go.

    Cures
    -----
    A higher rate, an adaptive optimizer; where bfloat16 weights lose their updates, a copy in float32 to sum them.

    References
    ----------
    Goodfellow, Bengio & Courville (2016), Deep Learning, ch. 8 and 11.4 (the rate is the parameter to tune first);
    Micikevicius et al. (2018), arXiv:1710.03740 (updates lost in rounding).
    """

    kind = "too_small_lr"
    needs = (needs.PATH, needs.LOSSES, needs.PARAMETERS, needs.steps(20))

    change: float = 0.01
    """Origin: a weight that is one part in a hundred different makes an output that is (first order, a layer)."""
    promise: float = 0.1
    """Origin: a model that has learned has taken more than a tenth of its loss; first order can't promise less."""
    steps: int = 100
    """Origin: the smallest run of which a hundredth part is a step; a shorter one may have just begun, and is judged
    only where at its pace a thousand steps would not do (empirical)."""
    rounding: float = 0.5
    """Origin: the median weight stays; in float32 one in two of its updates would have to be below 6e-8 of it."""
    falls: float = 3.0
    """Origin: three standard errors between the losses of the first and the last third, chance in 0.1 %."""
    agree: float = 3.0
    """Origin: t² of twenty batches that pull each elsewhere has the mean 1.1 and a standard deviation below 2."""
    batches: int = 20
    """Origin: as above; fewer measured steps can't show that a model has converged."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        seen = course(recording)
        if not seen.losses or seen.broke is not None or max(seen.reaches.values(), default=0.0) > 1:
            return
        path = max(paths(recording).values(), default=math.inf)
        share = lost(recording.recent)
        steps = recording.steps_seen
        short = steps < self.steps and path / steps * 10 * self.steps > self.change
        promised = fmean(seen.reaches.values()) * steps if seen.reaches else 0.0
        still = path < self.change and promised < self.promise and not short
        if not (still or share > self.rounding) or seen.fall > self.falls or self._converged(recording):
            return
        if _rises(recording.steps):
            yield NotJudged(self.name, self.kind, "rising_rate")
            return
        yield self._finding(recording, seen, path, promised, share)

    def _converged(self, recording: Recording) -> bool:
        measured = [s for s in recording.snapshots if s.parameters]
        return len(measured) >= self.batches and agreement(measured) < self.agree

    def _finding(self, recording: Recording, seen: Course, path: float, promised: float, share: float) -> Finding:
        moved = Evidence("path", path, self.change, None, "one_percent")
        rounded = Evidence("lost_updates", share, None, self.rounding, "half_lost")
        steps, rate = recording.steps_seen, recording.steps[-1].learning_rate
        return Finding(
            kind="too_small_lr",
            severity="critical" if share > 1 - self.change else "warning",
            cause="learning_rate",
            where="",
            step=recording.steps[0].step,
            evidence=(
                *((moved, rounded) if path < self.change else (rounded, moved)),
                Evidence("promised", promised, self.promise, None, "first_order"),
                Evidence("loss_fall", seen.fall, self.falls, None, "three_errors"),
            ),
            cures=CURES["learning_rate"],
            values={
                "rate": rate,
                "steps": steps,
                "path": path,
                "lost": share,
                "needed": self.change * steps / path if path else math.inf,
            },
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=3, he=True), lr=1e-7, steps=24)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=3, he=True), lr=0.01, steps=24)


def _rises(steps: list[StepReading]) -> bool:
    """Whether the rate is higher at the end than it was before."""
    rates = [s.learning_rate for s in steps]
    return rates[-1] > 1.01 * rates[len(rates) // 2]
