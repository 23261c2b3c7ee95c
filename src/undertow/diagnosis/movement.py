"""How far the weights of a run have come, and whether its batches agree on where they should go."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, median, stdev

from undertow.diagnosis.course import moved
from undertow.record import Recording, Snapshot

CANCELS = 1e-6
"""A mean so much smaller than the values is 0 by construction, as that of a softmax's gradient over the classes."""


def paths(recording: Recording) -> dict[str, float]:
    """Per weight the sum of the relative updates of all steps: by the triangle inequality at least its whole change.

    Steps between two measured ones count as the larger of the two, times what the learning rate was larger in between.
    A weight that was 0 has no relative update; its path is infinite.
    """
    snapshots = [s for s in recording.snapshots if s.parameters]
    rates = {s.step: s.learning_rate for s in recording.steps}
    found: dict[str, float] = {}
    for one, other in pairwise([*snapshots, None]):
        assert one is not None
        end = other.step if other is not None else recording.last_step + 1
        factor = _rise(rates, one.step, end) * (end - one.step)
        following = moved(other) if other is not None else {}
        for name, reading in moved(one).items():
            larger = max(_relative(reading), _relative(following.get(name, reading)))
            found[name] = found.get(name, 0.0) + factor * larger
    return found


def _relative(reading) -> float:
    change = reading.relative_update
    return change if not math.isnan(change) else math.inf if reading.update.rms else 0.0


def _rise(rates: dict[int, float], start: int, end: int) -> float:
    """By how much the rate was higher between two steps than at them."""
    ends = max(rates.get(start, math.nan), rates.get(end, 0.0))
    between = max((r for s, r in rates.items() if start < s < end), default=0.0)
    return max(between / ends, 1.0) if ends > 0 else 1.0


def agreement(snapshots: list[Snapshot]) -> float:
    """Signal over noise of the gradient of one batch: (mean / standard deviation)² over the steps of the mean entry of
    a parameter's gradient, averaged over the parameters, less what chance makes of so few steps.

    0 where each batch pulls elsewhere, as around a minimum.  It is the size of the batch over the gradient's noise
    scale (McCandlish et al. 2018, arXiv:1812.06162) while the weights stay where they are.  NaN below four steps.
    """
    found = []
    for name in snapshots[0].parameters if snapshots else ():
        gradients = [r.gradient for s in snapshots if (r := s.parameters.get(name)) is not None and r.gradient]
        if len(gradients) < 4:
            continue
        means = [g.mean for g in gradients]
        deviation, chance = stdev(means), (len(means) - 1) / (len(means) - 3) / len(means)
        if deviation > CANCELS * fmean(g.rms for g in gradients):
            found.append((fmean(means) / deviation) ** 2 - chance)
    return fmean(found) if found else math.nan


def peak(snapshot: Snapshot) -> float:
    """The largest gradient at the model's output over its rms and the root of the outputs a sample has.

    About 1 where all samples pull alike, for y - p of a class apart or of one value; √(1 / f) where a share f of the
    samples makes the whole gradient, as those do that a classifier has not fitted.  NaN without a gradient.
    """
    if not snapshot.ledger.path:
        return math.nan
    last = snapshot.ledger.path[-1].backward
    outputs = max(last.count / max(snapshot.samples, 1), 1.0)
    return last.max / (last.rms * math.sqrt(outputs)) if last.rms else math.nan


def lost(snapshots: list[Snapshot]) -> float:
    """The share of a weight's values that have a gradient and were not changed at all, median over the weights.

    An update below half the distance to the next number is lost in rounding.
    """
    shares = []
    for snapshot in snapshots:
        for reading in moved(snapshot).values():
            if reading.gradient is not None and reading.update is not None and reading.gradient.count:
                without = reading.gradient.zeros / reading.gradient.count
                unchanged = reading.update.zeros / max(reading.update.count, 1)
                shares.append(max(unchanged - without, 0.0) / (1 - without) if without < 1 else 0.0)
    return median(shares) if shares else 0.0
