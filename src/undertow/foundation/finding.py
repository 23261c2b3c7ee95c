"""One fault, found by measurement or foreseen by theory, with its evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from undertow.foundation.messages import say
from undertow.foundation.vocabulary import Cause, Confidence, Kind, Severity

CERTAIN, LIKELY = 10.0, 2.0
"""Beyond its range by a decade: more than batches and seeds of one model differ.  By a factor of two: more than the
readings of one batch scatter (both empirical)."""


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
    def margin(self) -> float:
        """By which factor the value lies outside of its range: 1 inside, infinite where the range ends at 0.

        Of two numbers from 0 to 1 it is the ratio of their odds p / (1 - p): of flat units, 99 % are further from
        70 % than 70 % are from 50 %.
        """
        if self.within or not math.isfinite(self.value):
            return 1.0 if self.within else math.inf
        beyond_low = self.low is not None and self.value < self.low
        small, large = (self.value, self.low) if beyond_low else (self.high, self.value)
        assert small is not None
        assert large is not None
        if small >= 0 and large <= 1:
            small, large = (p / (1 - p) if p < 1 else math.inf for p in (small, large))
        return large / small if small > 0 else math.inf

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
    """The first layer with weights that suffers, by its site, or a parameter; empty where the whole run is concerned.
    Where one activation is itself the fault, as a ReLU at the output, its own site."""
    step: int
    """The first observed step with the fault."""
    evidence: tuple[Evidence, ...] = ()
    """What decided comes first."""
    counter_evidence: tuple[Evidence, ...] = ()
    """What speaks against the finding, or would overturn it."""
    cures: tuple[str, ...] = ()
    """Names of cures, the most promising first."""
    values: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """What the sentences of the message catalogue are filled in with."""
    table: str = "findings"
    """Where its sentences are; of a finding that is foreseen, `forecast`."""
    rule: str = ""
    """The name of the rule that found it, where that is not its kind: its sentences are under this name."""
    sites: tuple[str, ...] = ()
    """Labels of all sites concerned, where that is more than `where`."""

    @property
    def confidence(self) -> Confidence:
        """How sure the finding is, by how far the first piece of its evidence lies outside of its range.

        ``certain``: by a factor of ten or more, or by something that was counted (a NaN, a weight without a gradient).
        ``likely``: by a factor of two.  ``possible``: by less, or counter-evidence lies outside of its range.  It
        tells how far the measurement is from the threshold, not how often such a finding is right: docs/score.md does.
        """
        margin = max((e.margin for e in self.evidence[:1]), default=1.0)
        if margin < LIKELY or not all(e.within for e in self.counter_evidence):
            return "possible"
        return "certain" if margin >= CERTAIN else "likely"

    @property
    def title(self) -> str:
        """What is wrong, in one line."""
        return say(f"{self._sentences}.title", where=self.where or say("findings.everywhere"), step=self.step)

    @property
    def because(self) -> str:
        """Why, in one sentence with the measured numbers."""
        return say(f"{self._sentences}.{self.cause}", where=self.where, step=self.step, **self.values)

    @property
    def overturned_by(self) -> str:
        """What would overturn the finding."""
        return say(f"{self._sentences}.overturned_by", **self.values)

    @property
    def _sentences(self) -> str:
        return f"{self.table}.{self.rule or self.kind}"

    def __str__(self) -> str:
        return f"{self.title}: {self.because}"


@dataclass(frozen=True)
class NotJudged:
    """A rule that could not decide, and what it lacked."""

    rule: str
    kind: Kind
    lacks: str
    """A key of the messages `unjudged.<lacks>`."""
    values: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    """What its sentence is filled in with."""

    @property
    def reason(self) -> str:
        """What was not seen, in one sentence."""
        return say(f"unjudged.{self.lacks}", **self.values)

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"
