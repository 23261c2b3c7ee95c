"""Which steps are measured whole, so that the measured cost stays within what the user allows."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection
from statistics import fmean, median

FIRST = 5
"""The first steps are always measured: a fault that is there at the start shows in them."""
SPARSEST = 1.5
"""However small the budget, a step is measured at least each time their number has grown by half: log n in all."""
NORMS_FIRST = 100
"""Of so many steps the gradients' norms are all taken, and then of at least one step in so many.  Ours."""
NORMS_SHARE = 0.5
"""What the norms may use of the budget where, taken in all steps, they would exceed it.  Ours."""
KEPT = 50
"""Durations that are remembered: a run's steps may grow longer."""


class Budget:
    """Decides by the clock; `share` None measures every step."""

    def __init__(self, share: float | None, clock: Callable[[], float] | None = None) -> None:
        """`clock` gives seconds of the run; by default those of the wall."""
        self.share = share
        self.clock = clock or time.perf_counter
        self._started = self._last = self._first_over = self.clock()
        self._inside = 0.0
        self._plain: deque[float] = deque(maxlen=KEPT)
        self._first: list[float] = []
        self._later: deque[float] = deque(maxlen=KEPT)
        self._count = 0
        self._last_measured = -1
        self._wanted = False
        self._hooks = 0.0
        self._cheap: deque[float] = deque(maxlen=KEPT)
        self._norms_from, self._normed = 0, True

    def wants(self, step: int, together: bool | None = None) -> bool:
        """Whether to measure this step; the answer holds for all passes of the step.

        `together` is what the ranks that train one model have agreed on: it is the answer.
        """
        due = step < FIRST or step >= SPARSEST * self._last_measured
        alone = self._wanted or self.share is None or due or self._affordable()
        self._wanted = alone if together is None else together
        if self._wanted:
            self._last_measured = step
        return self._wanted

    def wants_norms(self, step: int) -> bool:
        """Whether to take the norms of a step that is not measured whole: of all, as long as that is cheap."""
        self._normed = self.share is None or step < NORMS_FIRST or step >= self._norms_from
        if self._normed and self.share is not None and step >= NORMS_FIRST and self._cheap:
            cost, allowed = median(self._cheap), self.share * median(self._plain)
            if cost > allowed:
                every = cost / (NORMS_SHARE * allowed) if allowed else math.inf
                self._norms_from = step + math.ceil(min(every, NORMS_FIRST))
        return self._normed

    def next(self, step: int) -> int:
        """The step after this one that will be wanted, if steps go on to take as long as they did."""
        if self.share is None or step + 1 < FIRST or not self._first:
            return step + 1
        gain = self.share * median(self._plain or self._first)
        steps = max(self._missing() / gain, 1.0) if gain else math.inf
        return max(math.ceil(min(step + steps, SPARSEST * self._last_measured)), step + 1)

    def _affordable(self) -> bool:
        return self.share is not None and self._missing() <= 0

    def _missing(self) -> float:
        """Seconds of our own that a measured step now would take beyond the budget."""
        spent = self._spent()
        without = self.clock() - self._started - spent
        return self._extra(self._later or self._first) + spent - (self.share or 0.0) * without

    def _spent(self) -> float:
        return self._extra(self._first) * len(self._first) + self._spent_later()

    def _spent_later(self) -> float:
        return self._extra(self._later) * self._count + self._hooks

    def _extra(self, measured: Collection[float]) -> float:
        """Seconds that measuring adds to a step.

        The mean, for some cost more than others, without the longest tenth: a first step warms up, another may wait
        for an evaluation or a file.
        """
        if not measured:
            return 0.0
        usual = sorted(measured)[: len(measured) - math.ceil(len(measured) / 10) or 1]
        return max(fmean(usual) - (median(self._plain) if self._plain else 0.0), 0.0)

    def charge(self, seconds: float) -> None:
        """So much time was ours: in a plain step it is all that observing costs."""
        self._inside += seconds

    def stepped(self, _step: int) -> None:
        """An optimizer step is done."""
        now = self.clock()
        duration, self._last = now - self._last, now
        if not self._wanted:
            self._plain.append(duration)
            self._hooks += self._inside
            if self._normed:
                self._cheap.append(self._inside)
        elif len(self._first) < FIRST:
            self._first.append(duration)
            self._first_over = now
        else:
            self._later.append(duration)
            self._count += 1
        self._inside, self._wanted = 0.0, False

    @property
    def overhead(self) -> float | None:
        """The measured cost as a share of the time without us; None where every step was measured."""
        return self._share(self._spent(), self._started)

    @property
    def overhead_later(self) -> float | None:
        """The same of what came after the first steps, which are measured whatever the budget."""
        return self._share(self._spent_later(), self._first_over)

    def _share(self, spent: float, since: float) -> float | None:
        return spent / max(self._last - since - spent, 1e-9) if self._plain else None
