"""The readings of a run: cheap ones of every step, whole ledgers of the measured steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from undertow.record.ledger import Ledger
from undertow.record.reading import Reading


@dataclass(frozen=True)
class NotObserved:
    """Something that could not be seen, and why."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True)
class StepReading:
    """What is noted of every optimizer step; the gradient as the optimizer receives it, after any clipping."""

    step: int
    gradient_norm: float
    """Of all parameters together; NaN or inf where it is not finite."""
    learning_rate: float


@dataclass(frozen=True)
class ParameterReading:
    """One parameter of a measured step, before the optimizer's update."""

    weight: Reading
    gradient: Reading | None
    """None where it received no gradient."""


@dataclass(frozen=True)
class Snapshot:
    """One measured step: its ledger, its parameters, and which units had a slope."""

    step: int
    ledger: Ledger
    samples: int
    inputs: Reading | None = None
    """The model's first floating point input."""
    parameters: Mapping[str, ParameterReading] = field(default_factory=dict)
    alive: Mapping[str, Tensor] = field(default_factory=dict)
    """Per activation site, which units had f′ ≠ 0 for at least one sample of this step."""


@dataclass
class Recording:
    """A run as it was observed."""

    steps: list[StepReading] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """As the user logged them."""
    not_observed: dict[str, NotObserved] = field(default_factory=dict)
    overhead: float | None = None
    """Measured cost of observing, as a share of the run's time."""
    optimizer: str | None = None

    @property
    def last_step(self) -> int:
        return max((self.steps[-1].step if self.steps else 0), (self.snapshots[-1].step if self.snapshots else 0))

    @property
    def recent(self) -> list[Snapshot]:
        """The snapshots of the last half of the run, at least the last one."""
        half = self.last_step / 2
        return [s for s in self.snapshots if s.step >= half] or self.snapshots[-1:]
