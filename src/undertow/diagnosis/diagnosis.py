"""What a run, or one batch, shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from undertow.foundation import Finding, NotJudged
from undertow.record import Ledger, NotObserved, Recording


@dataclass(frozen=True)
class Diagnosis:
    """What a run, or one batch, shows."""

    findings: tuple[Finding, ...]
    ledger: Ledger
    """The last measured backward pass; `first_ledger` is the first one."""
    first_ledger: Ledger
    not_observed: tuple[NotObserved, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()
    """Rules that lacked the evidence to say yes or no."""
    steps: int = 1
    """Optimizer steps seen."""
    measured: int = 1
    """Steps whose ledger was measured."""
    overhead: float | None = None
    """Measured cost of watching, as a share of the run's time."""
    losses: tuple[float, ...] = ()
    recording: Recording | None = field(default=None, repr=False, compare=False)
    """What it was made from."""

    @property
    def healthy(self) -> bool:
        return all(f.severity == "note" for f in self.findings)
