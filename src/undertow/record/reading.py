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
    closed: float = math.nan
    """Share of the queries whose softmax passes nothing back: with p the largest probability, p (1 − p) is its steepest
    derivative up to a factor of 2, and below a thousandth of ¼, the most that it can be."""
    apart: float = math.nan
    """√(Σ |v − v̄|² / Σ |v|²) of the values, v̄ their mean over the keys that some query may look at: 0 where the tokens
    are alike, so that it makes no difference to which of them a query looks.  NaN where there is one key alone, or not
    as many queries as keys, as of an attention to something else."""


@dataclass(frozen=True)
class TimeReading:
    """The backward value of a recurrent layer's state along time, in the order in which its steps run.

    δ_t = ∂L/∂(state after step t), of an LSTM the hidden state and the cell together.  It is the sum of what the loss
    sends to the output of step t (`direct`) and of what later steps carry back; one step makes of δ_{t+1} what it
    carries to t, on average over time `step` times its size.
    """

    times: tuple[int, ...]
    """The steps with a reading: all, or of a long sequence some, evenly spread, with the first and the last."""
    backward: tuple[float, ...]
    """Of each, the rms of δ_t."""
    direct: tuple[float, ...]
    """Of each, the rms of what the loss sends there without a later step; on the same scale."""
    step: float
    """Geometric mean over time of |carried to t| / |δ_{t+1}|."""
    activation: float | None = None
    """The part of `step` that is the derivative of the activation; None in a gated layer, where gates do both."""

    @property
    def length(self) -> int:
        """How many steps the sequence has."""
        return max(self.times) + 1

    @property
    def weights(self) -> float | None:
        """The part of `step` that is the recurrent weights'; None in a gated layer."""
        return self.step / self.activation if self.activation else None

    @property
    def flow(self) -> float:
        """Backward value of the first tenth of the steps over the largest of all: what the time left of it.

        Scale-free.  NaN where no gradient comes, or one that is not finite.
        """
        start = self.backward[: max(len(self.backward) // 10, 1)]
        size = math.sqrt(sum(b * b for b in start) / len(start))
        most = max(self.backward)
        return size / most if 0 < most < math.inf else math.nan

    @property
    def growth(self) -> float:
        """The most that time made of what the loss sent: max over t of δ_t / Σ_{s ≥ t} direct_s.

        Steps that change no size give at most 1, wherever the loss reads the sequence; exact where every step has a
        reading, else the sum is filled in.
        """
        share = self.length / len(self.times)
        sent, most = 0.0, 0.0
        for backward, direct in zip(reversed(self.backward), reversed(self.direct), strict=True):
            sent += direct * (1.0 if not sent else share)
            most = max(most, backward / sent) if sent else most
        return most
