"""What a search for a cure comes to, in one sentence, and what to look at instead where it found none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from undertow.cures import Verdict, Verdicts
from undertow.cures.trials.verdict import interval
from undertow.foundation import knows, say
from undertow.foundation.numbers import written
from undertow.report.metrics import metric_name

Ending = Literal["cured", "helped", "healthy", "memorised", "unlearned", "nothing", "untried", "interrupted"]
FINE: tuple[Ending, ...] = ("cured", "helped", "healthy")
"""With these a user has what they came for."""
_ENDS = 10
"""A curve's start and end are the means of its first and last tenth: single batches scatter."""


@dataclass(frozen=True)
class Change:
    """A number before and after, mean over the seeds, and the 95 % interval of the paired difference."""

    before: float
    after: float
    interval: tuple[float, float]

    @property
    def proven(self) -> bool:
        """Whether it grew on more than chance; of a single seed the sign is all that there is."""
        low = self.interval[0]
        return low > 0 if math.isfinite(low) else self.after > self.before


def ending(verdicts: Verdicts) -> Ending:
    """How the search ended; where the control has no fault, by what it learned."""
    if verdicts.best:
        return "cured" if verdicts.best.outcome == "cured" else "helped"
    if verdicts.interrupted:
        return "interrupted"
    if verdicts.control_findings or verdicts.control_reason:
        return "nothing" if changes(verdicts) else "untried"
    if not fallen(verdicts).proven:
        return "unlearned"
    grown = gained(verdicts)
    return "healthy" if grown is None or grown.proven else "memorised"


def fallen(verdicts: Verdicts) -> Change:
    """By how much the control's training loss fell: minus the mean of the first tenth of the steps, and of the last."""
    ends = [(-fmean(c[: _tenth(c)]), -fmean(c[-_tenth(c) :])) for c in verdicts.control_curves if c]
    return _change(*zip(*ends, strict=True)) if ends else Change(math.nan, math.nan, (-math.inf, math.inf))


def gained(verdicts: Verdicts) -> Change | None:
    """By how much the control's metric is above that of the untrained model; None where that was not taken."""
    if len(verdicts.untrained) != len(verdicts.control) or any(map(math.isnan, verdicts.untrained)):
        return None
    return _change(verdicts.untrained, verdicts.control)


def changes(verdicts: Verdicts) -> int:
    """How many changes were tried, whole or in the race."""
    whole = {v.cure for v in verdicts if v.outcome != "not applicable"}
    return len(whole | {lane.cure.label for lane in verdicts.raced})


def headline(verdicts: Verdicts, target: str, then: str = "") -> str:
    """One sentence: what was wrong, what cures it, how sure that is; `then` is what to type next."""
    how = ending(verdicts)
    values: dict[str, Any] = {"target": target or "make", "wrong": wrong(verdicts), "metric": metric_name(verdicts)}
    values |= {"seeds": len(verdicts.seeds), "steps": verdicts.steps, "count": changes(verdicts)}
    key, more = how, {}
    match how:
        case "cured" | "helped":
            assert verdicts.best is not None
            key, more = _proven(verdicts, verdicts.best)
        case "healthy" | "unlearned":
            fall = fallen(verdicts)
            more = {"start": -fall.before, "end": -fall.after} | _bounds(fall.interval)
        case "memorised":
            fall, grown = fallen(verdicts), gained(verdicts)
            assert grown is not None
            more = {"start": -fall.before, "end": -fall.after, "before": grown.before, "after": grown.after}
            more |= _bounds(grown.interval)
        case "nothing":
            key, more = _unproven(verdicts)
    sentence = say(f"cure.says.{key}", **values, **more)
    return f"{sentence} {say('cure.next', then=then)}" if then else sentence


def instead(verdicts: Verdicts) -> list[str]:
    """What to look at where no cure was proven, one sentence each."""
    how = ending(verdicts)
    if how in ("cured", "helped"):
        return []
    if how in ("nothing", "untried"):
        asked = [f"cure.instead.{kind}" for kind in verdicts.control_findings]
        found = [say(key) for key in asked if knows(key)]
        hopeful = [v for v in verdicts if v.after > v.before]
        found += [say("cure.instead.seeds")] * bool(hopeful) + [say("cure.instead.time")] * verdicts.out_of_time
        return [*found, say("cure.instead.more")]
    return [say(f"cure.instead.{how}")]


def wrong(verdicts: Verdicts) -> str:
    """What the control suffers from, in a few words."""
    if verdicts.findings:
        more = len(verdicts.findings) - 1
        return verdicts.findings[0].title + (say("check.more", count=more) if more else "")
    return verdicts.control_reason or ", ".join(verdicts.control_findings) or say("cure.no_fault")


def _proven(verdicts: Verdicts, best: Verdict) -> tuple[str, dict[str, Any]]:
    more: dict[str, Any] = {"cure": best.cure, "before": best.before, "after": best.after, **_bounds(best.interval)}
    if not math.isfinite(best.interval[0]):  # a control without any metric
        return f"{best.outcome}_rescued", more
    if best.outcome == "helped" and best.remaining:
        return "helped_in_part", more | {"left": ", ".join(best.remaining)}
    return best.outcome, more


def _unproven(verdicts: Verdicts) -> tuple[str, dict[str, Any]]:
    measured = [v for v in verdicts if math.isfinite(v.interval[0])]
    if not measured:
        return "nothing_ran", {}
    best = max(measured, key=lambda v: sum(v.interval))
    return "nothing", {"cure": best.cure, "before": best.before, "after": best.after, **_bounds(best.interval)}


def _change(before: Sequence[float], after: Sequence[float]) -> Change:
    differences = [a - b for b, a in zip(before, after, strict=True)]
    return Change(fmean(before), fmean(after), interval(differences))


def _bounds(bounds: tuple[float, float]) -> dict[str, str]:
    return {"low": written(bounds[0]), "high": written(bounds[1])}


def _tenth(curve: Sequence[float]) -> int:
    return max(1, len(curve) // _ENDS)
