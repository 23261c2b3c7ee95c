"""The patched file run on the trial's seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from undertow.cures.cure import failure
from undertow.cures.patching.loading import loaded
from undertow.cures.patching.patch import Patched
from undertow.cures.training import check
from undertow.cures.trials.seeding import random_state_kept, seed_everything
from undertow.cures.trials.trial import Trial, run
from undertow.cures.trials.verdict import Verdict, interval
from undertow.foundation import InputError, say


@dataclass(frozen=True)
class Proof:
    """What the patched file reaches, beside what the trial said."""

    metrics: tuple[float, ...]
    """Per seed."""
    equal: bool
    """Whether they are the trial's to the last bit."""
    holds: bool
    """Whether they prove the gain again: the trial's very numbers, or a 95 % interval of their paired differences
    from the control that lies above 0, and no fault that the trial had not."""
    interval: tuple[float, float]
    """Of the mean paired difference from the control."""
    findings: tuple[str, ...] = ()
    """Kinds above a note that any run shows."""
    reason: str = ""
    """Why a run failed."""

    @property
    def says(self) -> str:
        """In the reader's language."""
        if self.equal:
            return say("patching.equal", seeds=len(self.metrics))
        low, high = self.interval
        key = "patching.broke" if self.reason else "patching.holds" if self.holds else "patching.fails"
        found = ", ".join(self.findings) or "-"
        return say(key, low=low, high=high, seeds=len(self.metrics), reason=self.reason, findings=found)


def prove(patched: Patched, verdict: Verdict, seeds: Sequence[int], steps: int | None = None) -> Proof:
    """Run the patched file's `make` on the seeds of a verdict, for the same steps, beside the verdict's numbers.

    Where the cure draws no random numbers, or draws them in the same order, the metrics are equal bit for bit.  Else
    the patched runs have other starting weights than the trial's, and have to prove the gain by themselves.

    Raises
    ------
    InputError
        There is no patched text, or the verdict is of another number of seeds.
    """
    if not patched.source or patched.file is None:
        raise InputError(f"a patch of {patched.kind} ({patched.why_not})", "one with a diff", "the lines added by hand")
    if len(seeds) != len(verdict.afters):
        raise InputError(
            f"{len(seeds)} seeds",
            f"the verdict's {len(verdict.afters)}",
            "prove(patched, verdict, seeds=verdicts.seeds)",
        )
    with random_state_kept(), loaded(patched.source, patched.file) as module:
        trials = [_trial(getattr(module, patched.name), seed, steps) for seed in seeds]
    return _judged(trials, verdict)


def _trial(make: object, seed: int, steps: int | None) -> Trial:
    seed_everything(seed)
    try:
        return run(check(make(seed)), steps, seed=seed)  # type: ignore[operator]
    except Exception as error:
        return Trial(math.nan, reason=failure(error))


def _judged(trials: Sequence[Trial], verdict: Verdict) -> Proof:
    metrics = tuple(t.metric for t in trials)
    pairs = zip(metrics, verdict.befores, strict=True)
    bounds = interval([a - b for a, b in pairs if not math.isnan(a - b)])
    findings = tuple(sorted(set().union(*(t.kinds for t in trials))))
    reason = next((t.reason for t in trials if t.failed), "")
    equal = all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(metrics, verdict.afters, strict=True))
    # A control without a metric leaves no difference; sound runs where it failed are the gain.
    gained = bounds[0] > 0 or (any(map(math.isnan, verdict.befores)) and not reason)
    holds = equal or (gained and not reason and set(findings) <= set(verdict.remaining))
    return Proof(metrics, equal, holds, bounds, findings, reason)
