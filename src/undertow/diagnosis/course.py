"""The course of a run: what its loss did, and how far its steps reached."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from undertow.record import LossReading, ParameterReading, Recording, Snapshot

SPREAD = 1.4826
"""Times the median absolute deviation, the standard deviation of normal values."""


@dataclass(frozen=True)
class Course:
    """The losses that were seen, and the reach of each step that was measured whole."""

    losses: tuple[LossReading, ...]
    """Those that are finite, until the first one that is not."""
    broke: int | None
    """The first step whose loss or gradient is not finite."""
    reaches: dict[int, float]
    """By step, see `reach`; in the order of the steps."""
    changes: dict[int, float]
    """By step, the largest relative update of a weight: rms(Δw) / rms(w)."""

    @property
    def start(self) -> float:
        """The loss before the first update."""
        return self.losses[0].value

    @cached_property
    def values(self) -> tuple[float, ...]:
        return tuple(reading.value for reading in self.losses)

    def best(self, window: int) -> float:
        """The lowest median of so many losses in a row; the lowest of all where there are fewer."""
        values = self.values
        return min((median(values[i : i + window]) for i in range(len(values) - window + 1)), default=min(values))

    def since(self, bar: float) -> tuple[LossReading, ...]:
        """The last losses in a row that are above the bar."""
        first = next((i for i in range(len(self.losses), 0, -1) if self.losses[i - 1].value <= bar), 0)
        return self.losses[first:]

    def overshot(self, limit: float, first: int, last: int) -> int | None:
        """The first measured step of these whose reach is above the limit."""
        return next((s for s, r in self.reaches.items() if first <= s <= last and r > limit), None)

    @cached_property
    def fall(self) -> float:
        """By how many standard errors the losses of the last third lie below those of the first; 0 for few."""
        third = len(self.values) // 3
        if third < 2:
            return 0.0
        early, late = self.values[:third], self.values[-third:]
        error = math.hypot(spread(early), spread(late)) * math.sqrt(math.pi / 2 / third)  # of medians
        gap = median(early) - median(late)
        return gap / error if error else math.copysign(math.inf, gap) if gap else 0.0


def course(recording: Recording) -> Course:
    """The course of a recording that holds at least one loss."""
    finite = next((i for i, r in enumerate(recording.losses) if not math.isfinite(r.value)), len(recording.losses))
    broken = [r.step for r in recording.losses[finite : finite + 1]]
    broken += [next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), math.inf)]
    broke = min(broken)
    losses = tuple(r for r in recording.losses[:finite] if r.step <= broke)
    at = [r.step for r in losses]
    clipped = {s.step: s.clip_ratio for s in recording.steps}
    reaches, changes = {}, {}
    for snapshot in recording.snapshots:
        place = bisect_left(at, snapshot.step)
        if snapshot.step >= broke or place == len(at):
            break
        changes[snapshot.step] = largest_change(snapshot)
        if at[place] == snapshot.step and losses[place].value > 0:
            reaches[snapshot.step] = reach(snapshot, losses[place].value, clipped.get(snapshot.step, 1.0))
    return Course(losses, None if broke == math.inf else int(broke), reaches, changes)


def reach(snapshot: Snapshot, loss: float, clip: float = 1.0) -> float:
    """What a step promises to take from the loss, as a multiple of the loss.

    Σ ‖∂L/∂w‖ ‖Δw‖ / L over the parameters: by Cauchy and Schwarz at least the first-order decrease -⟨∂L/∂w, Δw⟩, and
    equal to it for plain gradient descent.  `clip` is what clipping left of the gradient.  A loss L ≥ 0 that is
    λ-smooth has ‖∂L/∂w‖² ≤ 2λL, so of a step of gradient descent at a rate η it is at most 2ηλ: above 4 it proves
    η > 2/λ, beyond which gradient descent on a quadratic diverges.
    """
    promised = 0.0
    for reading in snapshot.parameters.values():
        if reading.gradient is not None and reading.update is not None:
            promised += reading.gradient.norm * reading.update.rms * math.sqrt(reading.gradient.count)
    return promised / (loss * clip) if clip else math.nan


def largest_change(snapshot: Snapshot) -> float:
    """The largest relative update of a weight; NaN where none was measured."""
    return max((c for r in moved(snapshot).values() if not math.isnan(c := r.relative_update)), default=math.nan)


def moved(snapshot: Snapshot) -> dict[str, ParameterReading]:
    """The weights that were stepped, without biases, which start at 0 and have no size of their own."""
    return {n: r for n, r in snapshot.parameters.items() if r.update is not None and not n.endswith("bias")}


def spread(values: Sequence[float]) -> float:
    """The standard deviation, without regard to a few strange values."""
    middle = median(values)
    return SPREAD * median(abs(v - middle) for v in values)
