"""What a long run keeps: a bounded number of readings, chosen so that its story stays whole."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

MOST_SNAPSHOTS = 192
"""Measured steps that a recording holds before it lets some go."""
FIRST, LAST = 5, 16
"""Measured steps that stay whatever they show: how the run began, and how it came to where it is."""
GROWTH = 1.2
"""Between them one stays each time the step count has grown by a fifth: 76 in a million steps."""
NEAR = 2
"""Measured steps that stay on either side of a turn of the run."""
TURNS = 4
"""Turns whose surroundings stay: the first four and the last four."""
SEVERE = math.log(10)
"""A gradient ten times larger or smaller than it was lately is a turn (empirical; batches vary by a factor of 2)."""
MEMORY = 0.1
"""Weight of the newest gradient in what is usual lately."""

MOST_READINGS = 1 << 16
"""Readings of single steps (90 bytes each in a run file) that a recording holds before it thins the older ones."""
BUCKET = 32
"""Consecutive readings of which the telling ones stay: first, last, least, greatest, first odd one."""


class AtStep(Protocol):
    @property
    def step(self) -> int: ...


Measured = TypeVar("Measured", bound=AtStep)
Item = TypeVar("Item")


class Turns:
    """The steps at which a run changed its course: a gradient that is not finite, skipped, or severely changed."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: deque[int] = deque(maxlen=TURNS)
        self._usual: dict[int, float] = {}
        self._turned: set[int] = set()

    @property
    def steps(self) -> tuple[int, ...]:
        return (*self._first, *self._last)

    def see(self, step: int, norm: float, odd: bool = False, line: int = 0) -> bool:
        """Takes the norm of a step, and tells whether a turn begins with it.

        `odd` is a turn whatever the norm, `line` tells the optimizers apart.

        A state that lasts is one turn: what counts is that it began.
        """
        if odd or not 0 < norm < math.inf:
            turned = odd or norm != 0
        else:
            size = math.log(norm)
            usual = self._usual.setdefault(line, size)
            self._usual[line] = usual + MEMORY * (size - usual)
            turned = abs(size - usual) > SEVERE
        new = turned and line not in self._turned
        if new:
            self.note(step)
        (self._turned.add if turned else self._turned.discard)(line)
        return new

    def note(self, step: int) -> None:
        if len(self._first) < TURNS:
            self._first.append(step)
        else:
            self._last.append(step)


def thin_snapshots(
    snapshots: Sequence[Measured], turns: Iterable[int], rare: Callable[[Measured], bool] = lambda _: False
) -> list[Measured]:
    """The measured steps to keep, in their order: the first, the last, those near a turn, and a geometric row between.

    Those that are `rare` stay too: what they hold is measured log n times in n steps.

    Applied again to what it kept and what came since, it keeps the same ones of the middle.
    """
    steps = [s.step for s in snapshots]
    kept = {*range(min(FIRST, len(steps))), *range(max(len(steps) - LAST, 0), len(steps))}
    for turn in turns:
        at = bisect_left(steps, turn)
        kept.update(range(max(at - NEAR, 0), min(at + NEAR, len(steps))))
    due = 0.0
    for index, step in enumerate(steps):
        if rare(snapshots[index]):
            kept.add(index)
        if step >= due:
            kept.add(index)
            due = GROWTH * step if index >= FIRST else due
    return [snapshots[index] for index in sorted(kept)]


def thin_readings(
    readings: Sequence[Item],
    value: Callable[[Item], float],
    line: Callable[[Item], Hashable] = lambda _: None,
    odd: Callable[[Item], bool] = lambda _: False,
) -> list[Item]:
    """The newest quarter whole; of each `BUCKET` older ones of a line those that a curve cannot do without.

    These are the first, the last, the least, the greatest and the first strange one (not finite, or `odd`), so a curve
    through what is left has the same envelope (Jugel et al. 2014, M4).
    """
    old = len(readings) - len(readings) // 4
    buckets: dict[Hashable, list[list[int]]] = {}
    for index in range(old):
        line_buckets = buckets.setdefault(line(readings[index]), [[]])
        if len(line_buckets[-1]) == BUCKET:
            line_buckets.append([])
        line_buckets[-1].append(index)
    values = [value(readings[i]) for i in range(old)]
    strange = [not math.isfinite(values[i]) or odd(readings[i]) for i in range(old)]
    kept: set[int] = set()
    for bucket in (b for found in buckets.values() for b in found):
        sound = [i for i in bucket if not strange[i]] or bucket
        first_strange = next((i for i in bucket if strange[i]), bucket[0])
        kept.update((bucket[0], bucket[-1], first_strange))
        kept.update((min(sound, key=values.__getitem__), max(sound, key=values.__getitem__)))
    return [readings[i] for i in sorted(kept)] + list(readings[old:])
