"""What the ranks that train one model say together of a measured step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spread:
    """The size of one quantity over the ranks, each of which computed it from its own share of the batch."""

    rms: float
    """Over the values of all ranks: √(Σᵣ Σx² / Σᵣ n)."""
    low: float
    """The smallest rms of one rank."""
    high: float
    """The largest rms of one rank."""

    @property
    def ratio(self) -> float:
        """high / low: 1 where the ranks agree, inf where one has nothing but zeros."""
        return self.high / self.low if self.low else math.inf if self.high else 1.0


@dataclass(frozen=True)
class RankReading:
    """One measured step as all ranks saw it; mappings are empty where the ranks' sites differ."""

    samples: tuple[int, ...]
    """Per rank, the samples of the step."""
    forward: Mapping[str, Spread] = field(default_factory=dict)
    """Per site, of its tensor."""
    backward: Mapping[str, Spread] = field(default_factory=dict)
    """Per site, of its backward value, before any reduction: each of the mean loss of the rank's own samples."""
    weights: Mapping[str, Spread] = field(default_factory=dict)
    """Per parameter that every rank holds whole: the copies are meant to be equal, so a ratio above 1 is a fault."""
