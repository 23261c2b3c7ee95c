"""One gradient, looked at in steps that are left alone: whether it is finite, and as large as it was lately."""

from __future__ import annotations

from math import inf, isfinite

import torch
from torch import Tensor
from torch.linalg import vector_norm

LOOKS = 32
"""Looks of which a range is taken.  Three new ones of the same size lie beyond all of them by chance once in 3272
times, C(35, 3) / 2, and are less often as far beyond as `LEAST` asks."""
IN_A_ROW = 3
"""Looks beyond the range, on one side, that make an alarm: a bad batch, or a step after it, makes none."""
LEAST = 2.0
"""The range is as wide again on either side, at least by this factor: by so much batches vary (empirical)."""


class Lookout:
    """Keeps the range of the gradient's norm, and sees when it is left.  The loss's scale divides out.

    What is done here is done in nearly every step of a run: nothing is sorted or stored twice.
    """

    def __init__(self, parameter: Tensor | None) -> None:
        self.parameter = parameter
        self.sound = True
        """Whether it was finite at the last look."""
        self._forget()

    def look(self) -> bool:
        """Whether nothing is to be seen; else the gradient is not `sound`, or has left its range for good.

        What it comes to then is its new range, once that is known.
        """
        gradient = None if self.parameter is None else self.parameter.grad
        if gradient is None:
            return True
        if gradient.is_sparse:
            gradient = gradient._values()
        size = vector_norm(gradient).item()
        if not self._low < size < self._high:
            return self._look_closely(gradient)
        self._keep(size)
        return True

    def _look_closely(self, gradient: Tensor) -> bool:
        """At one that is not finite, exactly 0, or out of its range, unless its squares were what left the format."""
        size = vector_norm(gradient, dtype=torch.complex128 if gradient.is_complex() else torch.float64).item()
        self.sound = isfinite(size) or bool(gradient.isfinite().all())
        if not isfinite(size):
            return self.sound
        if self._low <= size < self._high:
            self._keep(size)
            return True
        self._sizes.append(size)
        side = 1 if size >= self._high else -1
        self._outside = side + (self._outside if side * self._outside > 0 else 0)
        if abs(self._outside) < IN_A_ROW:
            return True
        self._forget()
        return False

    def _keep(self, size: float) -> None:
        self._outside = 0
        self._sizes.append(size)
        if len(self._sizes) >= LOOKS:
            self._renew()

    def _forget(self) -> None:
        self._sizes: list[float] = []
        self._low, self._high, self._outside = 0.0, inf, 0

    def _renew(self) -> None:
        """A range without the outermost look of either side; where the gradient is 0 now and then, 0 is in it."""
        sizes = sorted(self._sizes)
        there = [size for size in sizes if size]
        if len(there) > LOOKS / 2:
            low, high = there[1], there[-2]
            wider = max(high / low, LEAST)
            self._low, self._high = 0.0 if not sizes[1] else low / wider, high * wider
        else:
            self._low, self._high = 0.0, inf
        self._sizes = []
