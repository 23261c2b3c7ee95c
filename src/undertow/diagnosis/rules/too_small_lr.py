"""The flow is fine, and the weights do not move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from undertow.diagnosis import needs
from undertow.diagnosis.course import Course, course
from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.movement import agreement, lost, paths, peak
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding, NotJudged
from undertow.foundation.vocabulary import Severity
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
    below what the number format can tell apart.  And the loss has not fallen: where it falls although updates are lost
    in rounding, that is worth a note.

    Why it hurts
    ------------
    The run ends with the model that it began with.

    Evidence
    --------
    The sum of the relative updates ‖Δw‖ / ‖w‖ of each weight, measured and bounded in between; what the steps promised
    of the loss to first order; the share of updates lost in rounding; and whether batches agree on where to go.

    Counter-evidence
    ----------------
    A loss that falls all the same; a single step that promised the whole loss; a rate that still rises (warm-up),
    unless ten times as long a rise would not do; batches that pull each elsewhere, as they do around a minimum, or of
    which few samples still pull at all: a model that has converged has nowhere to go.

    Cures
    -----
    A higher rate, an adaptive optimizer; where bfloat16 weights lose their updates, a copy in float32 to sum them.

    References
    ----------
    Goodfellow, Bengio & Courville (2016), Deep Learning, ch. 8 and 11.4 (the rate is the parameter to tune first);
    Micikevicius et al. (2018), arXiv:1710.03740 (updates lost in rounding);
    McCandlish et al. (2018), arXiv:1812.06162 (noise scale).
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
    rising: float = 10.0
    """Origin: as above, ten times the steps: a rate that rises in proportion to them makes a path of their square."""
    rounding: float = 0.5
    """Origin: the median weight stays; in float32 one in two of its updates would have to be below 6e-8 of it."""
    falls: float = 3.0
    """Origin: three standard errors between the losses of the first and the last third, chance in 0.1 %."""
    agree: float = 0.1
    """Origin: the noise scale is ten batches: what they agree on is lost in what they do not."""
    batches: int = 5
    """Origin: the measured steps that any run has; fewer tell too little of how batches differ."""
    peaked: float = 3.0
    """Origin: one sample in 3² = 9 makes the whole gradient of the output; of an untrained model all do, about 1."""

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
        falls, rounded = seen.fall > self.falls, share > self.rounding
        if not ((still and not falls) or rounded) or self._converged(recording):
            return
        if _rises(recording.steps) and path * self.rising**2 >= self.change:
            yield NotJudged(self.name, self.kind, "rising_rate")
            return
        severity: Severity = "note" if falls else "critical" if share > 1 - self.change else "warning"
        yield self._finding(recording, seen, severity, path, promised, share)

    def _converged(self, recording: Recording) -> bool:
        """Batches that pull each elsewhere; or a loss to which few samples still add anything."""
        measured = [s for s in recording.snapshots if s.parameters]
        if len(measured) >= self.batches and agreement(measured) < self.agree:
            return True
        peaks = [p for s in recording.recent if not math.isnan(p := peak(s))]
        return bool(peaks) and median(peaks) > self.peaked

    def _finding(
        self, recording: Recording, seen: Course, severity: Severity, path: float, promised: float, share: float
    ) -> Finding:
        moved = Evidence("path", path, self.change, None, "one_percent")
        rounded = Evidence("lost_updates", share, None, self.rounding, "half_lost")
        steps, rate = recording.steps_seen, recording.steps[-1].learning_rate
        return Finding(
            kind="too_small_lr",
            severity=severity,
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
