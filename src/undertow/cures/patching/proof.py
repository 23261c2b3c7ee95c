"""The patched file run on the trial's seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from undertow.cures.cure import failure
from undertow.cures.patching.draws import HOLDER, Draws
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
    """Whether the file does what the trial did: the trial's very numbers, with its own random numbers or with the
    trial's; or a gain that is proven again, by a 95 % interval of the paired differences from the control that lies
    above 0 and no fault that the trial had not."""
    interval: tuple[float, float]
    """Of the mean paired difference from the control."""
    findings: tuple[str, ...] = ()
    """Kinds above a note that any run shows."""
    reason: str = ""
    """Why a run failed."""
    equal_aligned: bool = False
    """Whether the metrics are the trial's to the last bit where the file draws the trial's random numbers."""

    @property
    def says(self) -> str:
        """In the reader's language."""
        if self.equal:
            return say("patching.equal", seeds=len(self.metrics))
        low, high = self.interval
        key = "patching.broke" if self.reason else "patching.holds" if self.holds else "patching.fails"
        key = "patching.aligned" if self.equal_aligned and not self.reason else key
        found = ", ".join(self.findings) or "-"
        return say(key, low=low, high=high, seeds=len(self.metrics), reason=self.reason, findings=found)


def prove(patched: Patched, verdict: Verdict, seeds: Sequence[int], steps: int | None = None) -> Proof:
    """Run the patched file's `make` on the seeds of a verdict, for the same steps, beside the verdict's numbers.

    Where the cure draws no random numbers the metrics are equal bit for bit.  Else the patched file starts from other
    weights than the trial, which drew the cure's after all else; it is then run once more drawing as the trial did,
    and where that differs too it has to prove the gain by itself.

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
    with random_state_kept():
        trials = _trials(patched, patched.source, seeds, steps)
        metrics = tuple(t.metric for t in trials)
        same = _same(metrics, verdict.afters)
        if same or not patched.exact:
            return _judged(trials, verdict, same, False)
        again = tuple(t.metric for t in _trials(patched, patched.aligned, seeds, steps))
    return _judged(trials, verdict, False, _same(again, verdict.afters))


def _trials(patched: Patched, text: str, seeds: Sequence[int], steps: int | None) -> list[Trial]:
    assert patched.file is not None
    found: list[Trial] = []
    with loaded(text, patched.file, {HOLDER: Draws(0)}) as module:
        for seed in seeds:
            setattr(module, HOLDER, Draws(seed))
            seed_everything(seed)
            try:
                found.append(run(check(getattr(module, patched.name)(seed)), steps, seed=seed))
            except Exception as error:
                found.append(Trial(math.nan, reason=failure(error)))
    return found


def _same(metrics: Sequence[float], others: Sequence[float]) -> bool:
    pairs = zip(metrics, others, strict=True)
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def _judged(trials: Sequence[Trial], verdict: Verdict, equal: bool, equal_aligned: bool) -> Proof:
    metrics = tuple(t.metric for t in trials)
    pairs = zip(metrics, verdict.befores, strict=True)
    bounds = interval([a - b for a, b in pairs if not math.isnan(a - b)])
    findings = tuple(sorted(set().union(*(t.kinds for t in trials))))
    reason = next((t.reason for t in trials if t.failed), "")
    # A control without a metric leaves no difference; sound runs where it failed are the gain.
    gained = bounds[0] > 0 or (any(map(math.isnan, verdict.befores)) and not reason)
    proven = equal_aligned or (gained and set(findings) <= set(verdict.remaining))
    holds = equal or (proven and not reason)
    return Proof(metrics, equal, holds, bounds, findings, reason, equal_aligned)
