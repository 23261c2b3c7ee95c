"""When a state began that lasts until the end of a run, what it cost, and what brought it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from undertow.diagnosis.course import Course, course, largest_change, spread
from undertow.diagnosis.learning import DEVIATIONS, LEARNED, WINDOW
from undertow.foundation import Cause
from undertow.record import Recording, Snapshot
from undertow.record.flow import LARGE_INPUT

LASTING = 3
"""Measured steps in a row that make a state: one batch of outliers, or one step after a jump, is none."""
READINGS = 5
"""Losses whose median is compared; five in a row on one side of their median are chance in 3 %."""
NEAR = 2
"""The steps before a state was seen to which it may be due: weights that one step has moved show in the next one."""
REPLACED = 1.0
"""Steps as long as the weights themselves leave at most half of their square to what was there."""


def onset(sizes: Sequence[tuple[Snapshot, float]], bad: Callable[[float], bool]) -> int | None:
    """The place of the first of the last ones in a row that are bad; None where they are fewer than make a state.

    A state that has come and gone is none, nor one that comes with every other batch.
    """
    sound = next((i for i in range(len(sizes), 0, -1) if not bad(sizes[i - 1][1])), 0)
    return sound if len(sizes) - sound >= LASTING else None


def costs(recording: Recording, step: int) -> bool:
    """Whether, since this step, more than a tenth of what had been learned until then is lost, and not by chance.

    A layer may become flat, or its gradient large, because the model has learned: that costs nothing.  Where nothing
    had been learned the loss must have doubled.
    """
    if not recording.losses:
        return False
    seen = course(recording)
    if seen.broke is not None:
        return True
    before = tuple(r for r in seen.losses if r.step < step)
    since = [r.value for r in seen.losses if r.step >= step][-WINDOW:]
    if not before or len(since) < LASTING:
        return False
    start, best = before[0].value, Course(before, None, {}, {}).best(READINGS)
    late = [r.value for r in before[-WINDOW:]]
    error = math.hypot(*(spread(part) / math.sqrt(len(part)) for part in (late, since))) * math.sqrt(math.pi / 2)
    if best > start / 2:
        return median(since) > 2 * start
    return median(since) - median(late) > max(LEARNED * (start - best), DEVIATIONS * error)


def brought_by(recording: Recording, step: int) -> Cause:
    """What changed when a state began in training: the inputs' size, else steps that replaced weights, else weights.

    Steps are to blame where one of the last ones before was as long as a weight, or longer than any a hundred steps
    earlier; what has changed the weights otherwise is not an optimizer.
    """
    sizes = [(s.step, s.inputs.rms) for s in recording.snapshots if s.inputs is not None and s.inputs.rms]
    before, since = ([size for at, size in sizes if (at >= step) is late] for late in (False, True))
    if before and since and median(since) > LARGE_INPUT * median(before):
        return "input_scale"
    changes = [(s.step, largest_change(s)) for s in recording.snapshots if s.parameters]
    changes = [(at, size) for at, size in changes if math.isfinite(size)]
    near = [size for at, size in changes if at <= step][-NEAR:] + [size for at, size in changes if at > step][:1]
    return "learning_rate" if max(near, default=0.0) >= REPLACED else "weights"
