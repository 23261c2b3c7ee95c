"""What was measured of one tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """Statistics of one tensor; `mean`, `rms` and `max` are taken over its finite values, `max` is of |x|."""

    count: int
    mean: float
    rms: float
    max: float
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    subnormals: int = 0

    @property
    def nonfinite(self) -> int:
        return self.nans + self.infs

    @property
    def norm(self) -> float:
        """The Euclidean norm."""
        return self.rms * math.sqrt(self.count - self.nonfinite)

    @property
    def std(self) -> float:
        return math.sqrt(max(self.rms**2 - self.mean**2, 0.0))


@dataclass(frozen=True, slots=True)
class Slope:
    """Statistics of f′ over the inputs that an activation received."""

    activation: str
    mean: float
    rms: float
    flat: float
    """Share of inputs where |f′| is below 5 % of the steepest |f′| of this activation."""
    steepest: float
    """sup |f′|, a property of the activation."""
    saturating: bool
    """Whether the activation is flat at both ends, as sigmoid and tanh are."""
    units: int
    dead: int
    """Units whose f′ is exactly 0 for every sample of this batch."""


@dataclass(frozen=True)
class AttentionReading:
    """One attention of a batch, its probabilities recomputed where the layer keeps them to itself."""

    logits: Reading
    """scale · q kᵀ + mask; a hidden key counts as an infinity."""
    entropy: float
    """Mean over the queries of −Σ p log p / log n with n keys to choose from: 1 looks at all alike, 0 at one key."""
    largest: float
    """Mean over the queries of the largest probability."""
