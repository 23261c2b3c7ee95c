"""What trials proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["cured", "helped", "no effect", "harmed", "not applicable"]


@dataclass(frozen=True)
class Verdict:
    """A cure against the untouched control, paired by seed."""

    cure: str
    outcome: Outcome
    before: float
    """The control's metric, mean over the seeds."""
    after: float
    """The metric with the cure, mean over the seeds."""
    interval: tuple[float, float]
    """95 % confidence interval of the mean paired difference after − before."""
    patch: str
    """The lines of code that the user would write to keep the cure."""
    befores: tuple[float, ...] = ()
    """Per seed."""
    afters: tuple[float, ...] = ()
    curves: tuple[tuple[float, ...], ...] = ()
    """The loss at each step, per seed."""
    reason: str = ""
    """Why the cure does not apply, or what went wrong in a trial (a loss that is not finite, an exception)."""
    remaining: tuple[str, ...] = ()
    """Kinds of findings above a note that are still there after the cure, on any seed."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdicts:
    """All verdicts, best first, with the control they were measured against."""

    verdicts: tuple[Verdict, ...]
    control: tuple[float, ...]
    """The control's metric per seed."""
    control_curves: tuple[tuple[float, ...], ...]
    seeds: tuple[int, ...]
    steps: int
    metric: str
    """What was measured: "metric" or "minus held-out loss"."""
    seconds: float = 0.0

    @property
    def best(self) -> Verdict | None:
        """The first verdict that is cured or helped."""
        return next((v for v in self.verdicts if v.outcome in ("cured", "helped")), None)

    def __iter__(self):
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, cure: str) -> Verdict:
        return next(v for v in self.verdicts if v.cure == cure)
