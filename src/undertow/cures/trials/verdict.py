"""What trials proved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Literal

from undertow.cures.cure import Cure
from undertow.cures.search.race import Lane
from undertow.cures.trials.effects import Effects
from undertow.cures.trials.trial import Trial
from undertow.diagnosis import Finding
from undertow.foundation import Registry, say

Outcome = Literal["cured", "helped", "no effect", "harmed", "not applicable"]
OUTCOMES: tuple[Outcome, ...] = ("cured", "helped", "no effect", "not applicable", "harmed")
"""Best first."""
PROVEN: tuple[Outcome, ...] = ("cured", "helped")
# Student's t for a two-sided 95 % interval by degrees of freedom 1, 2, ... (quantile 0.975; computed to 3 decimals)
STUDENT_T = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
    2.120,
    2.110,
    2.101,
    2.093,
    2.086,
    2.080,
    2.074,
    2.069,
    2.064,
    2.060,
    2.056,
    2.052,
    2.048,
    2.045,
    2.042,
)
NORMAL = 1.960
"""The same quantile of the normal distribution, which t approaches."""
UNKNOWN = (-math.inf, math.inf)


@dataclass(frozen=True)
class Verdict:
    """A cure against the untouched control, paired by seed."""

    cure: str
    outcome: Outcome
    before: float
    """The control's metric, mean over the seeds; NaN where a seed has none."""
    after: float
    """The metric with the cure, mean over the seeds; NaN where a seed has none."""
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
    seconds: float = field(default=0.0, compare=False)
    change: Cure | None = field(default=None, compare=False)
    """The cure itself."""
    cost: float = field(default=math.nan, compare=False)
    """Of its trials, in plain trainings."""
    metrics: tuple[tuple[tuple[int, float], ...], ...] = field(default=(), compare=False)
    """Per seed: (step, metric), from step 0 on, at as many places as cost little time."""
    effects: Effects | None = None
    """What the cure costs besides, on the first seed; None where it could not be measured."""

    @property
    def undecided(self) -> bool:
        """Better on each of two seeds or more and sound on all, though the interval, wide as few seeds make it, still
        holds 0."""
        pairs = zip(self.befores, self.afters, strict=False)
        sound = len(self.afters) > 1 and not self.reason and not self.remaining
        return self.outcome == "no effect" and sound and all(after > before for before, after in pairs)

    @property
    def says(self) -> str:
        """The outcome in the reader's language."""
        return say(f"cures.outcome.{self.outcome.replace(' ', '_')}")


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
    seconds: float = field(default=0.0, compare=False)
    control_findings: tuple[str, ...] = ()
    """Kinds of findings above a note that the control shows, on any seed."""
    control_reason: str = ""
    """What went wrong in the control's runs."""
    interrupted: bool = False
    """Whether the search was stopped before every cure was tried."""
    raced: tuple[Lane, ...] = ()
    """The changes that were tried on one seed, the best first; most stopped early."""
    findings: tuple[Finding, ...] = ()
    """Of the control, above a note, worst first; each kind and place once."""
    untried: tuple[tuple[str, str], ...] = ()
    """Changes that are meant for these findings and were not tried, each with the reason."""
    untrained: tuple[float, ...] = ()
    """The control's metric per seed before any step."""
    control_metrics: tuple[tuple[tuple[int, float], ...], ...] = field(default=(), compare=False)
    """The control's `Verdict.metrics`."""
    cost: float = field(default=math.nan, compare=False)
    """Of the whole search, in plain trainings."""
    out_of_time: bool = field(default=False, compare=False)
    """Whether the budget's time broke something off."""
    unproven: tuple[str, ...] = field(default=(), compare=False)
    """Labels of changes that were worth a proof, for which the time did not suffice."""

    @property
    def best(self) -> Verdict | None:
        """The first verdict that is cured or helped."""
        return next((v for v in self.verdicts if v.outcome in PROVEN), None)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, cure: str) -> Verdict:
        """The verdict on a cure by its label, as `learning_rate ×0.1`; UnknownNameError names the nearest."""
        judged: Registry[Verdict] = Registry("judged cure", "[v.cure for v in verdicts]")
        for verdict in self.verdicts:
            judged.add(verdict.cure, verdict)
        return judged[cure]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """mean ± t(n − 1) · s / √n, the 95 % confidence interval of the mean of paired differences.

    One difference proves nothing: (−∞, ∞).  Student (1908), The probable error of a mean.
    """
    n = len(differences)
    if n < 2:
        return UNKNOWN
    t = STUDENT_T[n - 2] if n - 1 <= len(STUDENT_T) else NORMAL
    half = t * stdev(differences) / math.sqrt(n)
    return fmean(differences) - half, fmean(differences) + half


def judge(cure: Cure, patch: str, control: Sequence[Trial], cured: Sequence[Trial], cost: float = math.nan) -> Verdict:
    """The verdict of a cure's trials against the control's, seed by seed."""
    pairs = list(zip(control, cured, strict=True))
    bounds = interval([a.metric - b.metric for b, a in pairs if not math.isnan(a.metric - b.metric)])
    return Verdict(
        cure.label,
        _outcome(pairs, bounds),
        _mean(control),
        _mean(cured),
        bounds,
        patch,
        befores=tuple(t.metric for t in control),
        afters=tuple(t.metric for t in cured),
        curves=tuple(t.losses for t in cured),
        reason=next((t.reason for t in cured if t.failed), ""),
        remaining=tuple(sorted(set().union(*(t.kinds for t in cured)))),
        seconds=sum(t.seconds for t in cured),
        change=cure,
        cost=cost,
        metrics=tuple(t.metrics for t in cured),
        effects=next((t.effects for t in cured if t.effects), None),
    )


def not_applicable(cure: Cure, reason: str, control: Sequence[Trial]) -> Verdict:
    return Verdict(
        cure.label,
        "not applicable",
        _mean(control),
        math.nan,
        UNKNOWN,
        "",
        befores=tuple(t.metric for t in control),
        reason=reason,
        change=cure,
    )


def _outcome(pairs: Sequence[tuple[Trial, Trial]], bounds: tuple[float, float]) -> Outcome:
    if bounds[1] < 0 or any(after.failed and not before.failed for before, after in pairs):
        return "harmed"
    # Where the control has no metric at all there is no difference to measure: a sound run on every seed is the gain.
    rescued = len(pairs) > 1 and all(before.failed and not after.failed for before, after in pairs)
    unmeasured = rescued and any(math.isnan(before.metric) for before, _ in pairs)
    if not (bounds[0] > 0 or unmeasured):
        return "no effect"
    return "cured" if _faults_gone(pairs) else "helped"


def _faults_gone(pairs: Sequence[tuple[Trial, Trial]]) -> bool:
    """Whether the control's faults are gone on every seed, and no other one came instead."""
    diagnosed = all(trial.findings is not None for pair in pairs for trial in pair)
    was_sick = any(before.kinds for before, _ in pairs)
    return diagnosed and was_sick and not any(after.failed or after.kinds for _, after in pairs)


def _mean(trials: Sequence[Trial]) -> float:
    return fmean(t.metric for t in trials)


def ranked(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Best outcome first, then the highest metric with the cure."""
    return tuple(sorted(verdicts, key=lambda v: (OUTCOMES.index(v.outcome), math.isnan(v.after), -v.after)))
