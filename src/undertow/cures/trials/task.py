"""What a trial is asked for, and what all trials of one search have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from undertow.cures.cure import Cure
from undertow.cures.training import Training

Make = Callable[[int], Training]


@dataclass(frozen=True)
class Task:
    """One trial; its result follows from this and from the Setting alone, wherever and whenever it is run."""

    cure: Cure | None
    """None is the untouched training."""
    seed: int
    until: int = 0
    """The step of a race up to which a lane is trained; 0 is the whole training, diagnosed."""

    @property
    def key(self) -> tuple[str, int, int]:
        """Which task it is; a cure is told by its class and knobs."""
        return repr(self.cure) if self.cure else "", self.seed, self.until

    @property
    def label(self) -> str:
        return self.cure.label if self.cure else ""


@dataclass(frozen=True)
class Setting:
    """What all trials of one search have in common."""

    make: Make
    steps: int
    diagnose: bool
    points: int
    """Places on the way of a whole training at which its metric is taken."""
    measured: int
    """The seed on which a cure's effects are measured."""
