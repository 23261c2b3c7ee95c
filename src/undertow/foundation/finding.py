"""One fault, found by measurement or foreseen by theory, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from undertow.foundation.messages import say
from undertow.foundation.vocabulary import Cause, Kind, Severity


@dataclass(frozen=True)
class Evidence:
    """One measured number, with the range in which it would be no fault and where that range comes from."""

    name: str
    """A key of the messages `evidence.<name>`."""
    value: float
    low: float | None = None
    high: float | None = None
    origin: str = ""
    """A key of the messages `origin.<origin>`."""

    @property
    def within(self) -> bool:
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def text(self) -> str:
        return say(f"evidence.{self.name}")


@dataclass(frozen=True)
class Finding:
    """One fault: what, where, since when, why, on which evidence, and what may cure it."""

    kind: Kind
    severity: Severity
    cause: Cause
    where: str
    """The name of the first site (or parameter) concerned; empty where the whole run is."""
    step: int
    """The first observed step with the fault."""
    evidence: tuple[Evidence, ...] = ()
    counter_evidence: tuple[Evidence, ...] = ()
    """What speaks against the finding, or would overturn it."""
    cures: tuple[str, ...] = ()
    """Names of cures, the most promising first."""
    values: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """What the sentences of the message catalogue are filled in with."""
    table: str = "findings"
    """Where its sentences are; of a finding that is foreseen, `forecast`."""

    @property
    def title(self) -> str:
        """What is wrong, in one line."""
        return say(f"{self.table}.{self.kind}.title", where=self.where or say("findings.everywhere"), step=self.step)

    @property
    def because(self) -> str:
        """Why, in one sentence with the measured numbers."""
        return say(f"{self.table}.{self.kind}.{self.cause}", where=self.where, step=self.step, **self.values)

    @property
    def overturned_by(self) -> str:
        """What would overturn the finding."""
        return say(f"{self.table}.{self.kind}.overturned_by", **self.values)

    def __str__(self) -> str:
        return f"{self.title}: {self.because}"
