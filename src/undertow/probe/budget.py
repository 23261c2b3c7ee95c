"""Which steps are measured whole, so that the measured cost stays within what the user allows."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

FIRST = 5
"""The first steps are always measured: a fault that is there at the start shows in them."""
SPARSEST = 1.5
"""However small the budget, a step is measured at least each time their number has grown by half: log n in all."""


class Budget:
    """Decides by the clock; `share` None measures every step."""

    def __init__(self, share: float | None) -> None:
        self.share = share
        self._started = self._last = time.perf_counter()
        self._inside = 0.0
        self._plain: deque[float] = deque(maxlen=50)
        self._measured: deque[float] = deque(maxlen=50)
        self._count = 0
        self._last_measured = -1
        self._wanted = False
        self._hooks = 0.0

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

    def next(self, step: int) -> int:
        """The step after this one that will be wanted, if steps go on to take as long as they did."""
        if self.share is None or step + 1 < FIRST or not self._measured:
            return step + 1
        gain = self.share * median(self._plain or self._measured)
        steps = max(self._missing() / gain, 1.0) if gain else math.inf
        return max(math.ceil(min(step + steps, SPARSEST * self._last_measured)), step + 1)

    def _affordable(self) -> bool:
        return self.share is not None and self._missing() <= 0

    def _missing(self) -> float:
        """Seconds of our own that a measured step now would take beyond the budget."""
        elapsed = time.perf_counter() - self._started
        return self._extra() * (self._count + 1) + self._hooks - (self.share or 0.0) * elapsed

    def _extra(self) -> float:
        """Seconds that measuring adds to a step."""
        if not self._measured:
            return 0.0
        return max(median(self._measured) - (median(self._plain) if self._plain else 0.0), 0.0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Time spent in here is ours: in a plain step it is all that observing costs."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._inside += time.perf_counter() - start

    def stepped(self, _step: int) -> None:
        """An optimizer step is done."""
        now = time.perf_counter()
        duration, self._last = now - self._last, now
        if self._wanted:
            self._measured.append(duration)
            self._count += 1
        else:
            self._plain.append(duration)
            self._hooks += self._inside
        self._inside, self._wanted = 0.0, False

    @property
    def overhead(self) -> float | None:
        """The measured cost as a share of the time without us; None where every step was measured."""
        if not self._plain:
            return None
        spent = self._extra() * self._count + self._hooks
        total = self._last - self._started
        return spent / max(total - spent, 1e-9)
