"""The steps are too long: the loss is thrown up and doesn't come back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis import needs
from undertow.diagnosis.course import Course, course
from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.onset import brought_by
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding, NotJudged
from undertow.record import Recording
from undertow.record.flow import EXPLODED, flow

CURES: dict[Cause, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "clip_norm", "adam"),
    "input_scale": ("standardise", "clip_norm"),
}


@rule
@dataclass(frozen=True)
class UnstableLearningRate(Rule):
    """The flow is sound and the steps are too long: the loss is thrown up and doesn't come back.

    What
    ----
    A step promised to first order more than four times the loss that there was, and since then the loss has left the
    number format, still grows at a hundred times its start, has stayed above its start, or has stayed for eighteen
    steps where more than half of what had been learned is lost.

    Why it hurts
    ------------
    Each step leaps over the valley that its gradient points into and lands higher up on the other side.

    Evidence
    --------
    The reach of the steps, Σ ‖g‖ ‖Δw‖ / loss, which neither the scale of the loss nor the kind of optimizer changes; a
    loss that is smooth and not below 0 can't be promised more than four times itself by a step that descends.  Then
    the loss beside its start and its best, and the size of the update beside that of the weights.

    Counter-evidence
    ----------------
    A loss that comes back: a high rate throws many models up for some steps, from which they settle in a flatter place
    (the catapult), and spikes recover.  A flow that was unsound at the first step, which makes any rate too high.  A
    loss that rises while steps are short: another task, another player, a harder part of the data.

    Cures
    -----
    A lower rate, a warm-up, clipping, an adaptive optimizer.

    References
    ----------
    Srebro, Sridharan & Tewari (2010), arXiv:1009.3896 (‖∇L‖² ≤ 2λL); LeCun et al. (1998), Efficient BackProp (the
    largest rate is 2/λ); Lewkowycz et al. (2020), arXiv:2003.02218 (catapult); Cohen et al. (2021), arXiv:2103.00065.
    """

    kind = "unstable_lr"
    needs = (needs.PATH, needs.STEPS, needs.LOSSES, needs.PARAMETERS)

    overshot: float = 4.0
    """Origin: derived in `course.reach`: above it a step is longer than 2/λ."""
    thrown: float = 100.0
    """Origin: a catapult grows the loss by up to about the width of the net and then falls; a loss that still grows
    at a hundred times its start has no such end in sight (empirical)."""
    grown: float = 10.0
    """Origin: one decade; losses of batches of one model vary by less (empirical)."""
    above: float = 2.0
    """Origin: twice its start is beyond what batches of some ten samples scatter (empirical)."""
    readings: int = 5
    """Origin: five losses in a row on one side of their median are chance in 3 %."""
    patience: int = 18
    """Origin: the twenty steps in which a fault is to be reported, without its first, which the loss shows in the step
    after it; spikes of Adam last for a few of the 1 / (1 - β₁) = 10 steps of its memory."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        seen = course(recording)
        if not seen.losses:
            return
        if min(seen.values) <= 0:
            yield NotJudged(self.name, self.kind, "signed_losses")
            return
        first = recording.snapshots[0].ledger
        if first.path and flow(first) > EXPLODED:
            return
        now = math.inf if seen.broke is not None else seen.values[-1]
        step = self._broke(recording, seen) if seen.broke is not None else self._grows(seen)
        if step is None:
            now, step = median(seen.values[-self.readings :]), self._stays(seen)
        if step is not None:
            yield self._finding(recording, seen, step, now)

    def _broke(self, recording: Recording, seen: Course) -> int | None:
        """The loss or the gradient left the number format, after steps that were too long."""
        last = max(seen.reaches, default=None)
        if last is None or seen.reaches[last] <= self.overshot:
            return None
        size = max(seen.values) / seen.start
        thrown = size > self.thrown if _from_nothing(recording) else size > self.grown or seen.changes[last] >= 1
        return seen.overshot(self.overshot, min(_low(seen, seen.start), last), last) if thrown else None

    def _grows(self, seen: Course) -> int | None:
        """It is far above its start, and higher each time."""
        *_, before, between, now = (math.inf, math.inf, math.inf, *seen.values)
        if now > self.thrown * seen.start and now > between > before:
            return seen.overshot(self.overshot, _low(seen, seen.start), seen.losses[-1].step)
        return None

    def _stays(self, seen: Course) -> int | None:
        """What had been learned is lost, or the start was never undercut."""
        best = seen.best(self.readings)
        learned = best < seen.start / self.above
        bar = (seen.start + best) / 2 if learned else seen.start
        tail = seen.since(bar)
        if len(tail) < self.readings or tail[-1].step - tail[0].step + 1 < self.patience:
            return None
        if not learned and median(r.value for r in tail) < self.above * seen.start:
            return None
        return seen.overshot(self.overshot, _low(seen, bar), tail[0].step + self.patience)

    def _finding(self, recording: Recording, seen: Course, step: int, now: float) -> Finding:
        rates = {s.step: s.learning_rate for s in recording.steps}
        rate = rates.get(step, recording.steps[0].learning_rate)
        cause: Cause = "input_scale" if brought_by(recording, step) == "input_scale" else "learning_rate"
        return Finding(
            kind="unstable_lr",
            severity="critical" if now > self.thrown * seen.start else "warning",
            cause=cause,
            where="",
            step=step,
            evidence=(
                Evidence("reach", seen.reaches[step], None, self.overshot, "two_over_curvature"),
                Evidence("loss_over_start", now / seen.start, None, self.above, "own_start"),
                Evidence("loss_best_over_start", seen.best(self.readings) / seen.start, None, None, ""),
                Evidence("relative_update", seen.changes[step], None, None, ""),
            ),
            cures=CURES[cause],
            values={
                "rate": rate,
                "reach": seen.reaches[step],
                "change": seen.changes[step],
                "start": seen.start,
                "highest": max(*seen.values, now),
                "now": now,
            },
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=3, he=True), lr=5.0, steps=8)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("sigmoid", depth=1, gain=1.0), lr=10.0, steps=60)


def _low(seen: Course, bar: float) -> int:
    """The last step whose loss was not above the bar, else the first."""
    return max((r.step for r in seen.losses if r.value <= bar), default=seen.losses[0].step)


def _from_nothing(recording: Recording) -> bool:
    """Whether the first value that is not finite arose on the way back of a forward pass that was finite."""
    origin = recording.origin
    return origin is not None and origin.direction == "backward" and origin.site != "loss"
