"""The measured steps in which something is run again on the side."""

from __future__ import annotations

OFTEN = 1.5
"""Such a step is due each time their number has grown by half: two or more in the last half of a run, log n in all."""


class Seldom:
    """Asked once for each measured step."""

    def __init__(self) -> None:
        self._step, self._last = -1, -1

    def new(self, step: int) -> bool:
        """Whether the step is another one than that of the last call."""
        before, self._step = self._step, step
        return step != before

    def wants(self, step: int) -> bool:
        if step < OFTEN * self._last:
            return False
        self._last = step
        return True
