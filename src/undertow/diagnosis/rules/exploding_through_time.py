"""The backward value grows on its way back through the time steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis import needs
from undertow.diagnosis.learning import ENOUGH, Learning, learning
from undertow.diagnosis.recurrent_examples import first_or_last
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.diagnosis.sequences import KEEPS, TIMES, Sequence, factors, sequences, written
from undertow.foundation import Cause, Evidence, Finding, NotJudged
from undertow.record import Recording, TimeReading
from undertow.record.flow import EXPLODED

CURES = {
    "weights": ("orthogonal_recurrence", "gated_recurrence", "clip_norm", "learning_rate", "shorter_bptt"),
    "activation": ("gated_recurrence", "clip_norm", "learning_rate", "shorter_bptt"),
    "depth": ("gated_recurrence", "clip_norm", "learning_rate", "shorter_bptt"),
}


@rule
@dataclass(frozen=True)
class ExplodingThroughTime(Rule):
    """The backward value grows from time step to time step, and the run learns nothing.

    What
    ----
    In a recurrent layer, fused or written by hand, the backward value at some time step is more than a hundred times
    all that the loss sends to it and to later ones, in the first measured steps and in most that were read since, and
    the run has not learned more than the mean of its targets, or has left the number format.

    Why it hurts
    ------------
    The gradient of the weights is a sum over the time steps, and the early ones are all of it: a small change of the
    weights throws the late states far off, so that a step either moves nothing or throws the loss up.

    Evidence
    --------
    The backward value at each time step, from a few sequences of the batch that are run again on the side, beside
    what the loss sends there directly: a loss that reads every step adds up along time, and is no growth.  Where each
    step keeps the size within the usual range, it is their number that does it: depth.

    Counter-evidence
    ----------------
    A run that learns: clipping lets many recurrent nets train that start like this.

    Cures
    -----
    Recurrent weights of a spectral radius near 1, clipping, a lower rate.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), arXiv:1211.5063; Bengio, Simard & Frasconi (1994).
    """

    kind = "exploding"
    needs = (needs.PATH, TIMES)

    threshold: float = EXPLODED
    """Origin: as `record.flow` says; the forecast has the same."""
    hopeless: float = EXPLODED**2
    """Origin: as above."""
    keeps: float = KEEPS[1]
    """Origin: the range of the evidence for a layer's factors."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        known = learning(recording)
        broken = any(not math.isfinite(s.gradient_norm) for s in recording.steps)
        grown = [s for s in sequences(recording) if self._grows(s, self.threshold)]
        if not grown or (known is not None and known.any and not broken):
            return
        certain = grown if known is not None or broken else [s for s in grown if self._grows(s, self.hopeless)]
        if not certain or not recording.optimizers:
            yield NotJudged(self.name, self.kind, "trains_anyway", {"where": grown[0].where, "steps": ENOUGH})
            return
        yield self._finding(certain[0], known, broken)

    def _grows(self, sequence: Sequence, limit: float) -> bool:
        """At the start, and for most of the readings since; a gradient that is finite no more has grown on."""
        early, every = ([r.growth for r in part if _is_finite(r)] for part in (sequence.early, sequence.every))
        return bool(early) and max(early) > limit and median(every) > limit

    def _finding(self, sequence: Sequence, known: Learning | None, broken: bool) -> Finding:
        first = next(r for r in sequence.early if _is_finite(r) and r.growth > self.threshold)
        cause = self._cause(first)
        return Finding(
            kind="exploding",
            rule=self.name,
            severity="critical" if broken or first.growth > self.hopeless else "warning",
            cause=cause,
            where=sequence.where,
            step=sequence.step,
            evidence=(Evidence("time_growth", first.growth, None, self.threshold, "sum_over_time"), *factors(first)),
            counter_evidence=() if known is None else (known.evidence,),
            cures=CURES[cause],
            values={
                **written(first),
                "growth": first.growth,
            },
        )

    def _cause(self, reading: TimeReading) -> Cause:
        slopes = reading.activation if reading.activation is not None else 1.0
        if reading.step / min(slopes, 1.0) <= self.keeps:
            return "depth"
        return "activation" if slopes > max(reading.step / slopes, 1.0) else "weights"

    @staticmethod
    def sick() -> Example:
        return first_or_last(reads_first=True, gain=3.0, relu=True, length=16)

    @staticmethod
    def healthy() -> Example:
        return first_or_last(reads_first=False, gain=1.0, relu=True)


def _is_finite(reading: TimeReading) -> bool:
    return all(map(math.isfinite, reading.backward)) and reading.growth > 0
