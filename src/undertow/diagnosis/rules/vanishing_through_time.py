"""The backward value dies on its way back through the time steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.diagnosis import needs
from undertow.diagnosis.learning import ENOUGH, Learning, learning
from undertow.diagnosis.recurrent_examples import first_or_last
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.diagnosis.sequences import KEEPS, TIMES, Sequence, factors, reach, sequences, written
from undertow.foundation import Cause, Evidence, Finding, NotJudged
from undertow.record import Recording, TimeReading
from undertow.record.flow import LOST, VANISHED

CURES = {
    "weights": ("orthogonal_recurrence", "gated_recurrence", "chrono_init", "forget_bias", "identity_recurrence"),
    "activation": ("gated_recurrence", "orthogonal_recurrence", "chrono_init", "identity_recurrence"),
    "depth": ("orthogonal_recurrence", "gated_recurrence", "chrono_init", "forget_bias", "identity_recurrence"),
}


@rule
@dataclass(frozen=True)
class VanishingThroughTime(Rule):
    """The backward value shrinks from time step to time step, and the run learns nothing of what came early.

    What
    ----
    In a recurrent layer, fused or written by hand, the rms of ∂L/∂(state) over the first tenth of the time steps is
    less than a thousandth of the largest along time, in the first measured steps and still in the last half of the
    run, and the run has not learned more than the mean of its targets.  Before a run is old enough to tell, less than
    float32's rounding of the largest.

    Why it hurts
    ------------
    The gradient of the weights is a sum over the time steps: the early ones vanish in it, and what the model is shown
    early can't be connected with what it is asked late.

    Evidence
    --------
    The backward value at each time step, from a few sequences of the batch that are run again on the side, and what
    one step makes of it: the factor of the recurrent weights, and in a plain layer of the activation's derivative.
    Where each step keeps the size within the usual range, it is their number that does it: depth.

    Counter-evidence
    ----------------
    Gates that open while training; a run that learns, for then its task needs no more memory than there is; a loss
    that reads every time step, or attends to them, which hands the early ones a gradient of their own.

    Cures
    -----
    Gates that start open (a forget gate's bias of 1), orthogonal recurrent weights, a GRU or an LSTM in place of a
    plain layer, a shorter way (attention, a skip over time).

    References
    ----------
    Hochreiter (1991); Bengio, Simard & Frasconi (1994); Pascanu, Mikolov & Bengio (2013), arXiv:1211.5063;
    Jozefowicz, Zaremba & Sutskever (2015) on the forget gate's bias; Le, Jaitly & Hinton (2015), arXiv:1504.00941.
    """

    kind = "vanishing"
    needs = (needs.PATH, TIMES)

    threshold: float = VANISHED
    """Origin: as `record.flow` says; the forecast has the same."""
    hopeless: float = LOST
    """Origin: as above."""
    rounded: float = 2.0**-24
    """Origin: half of float32's eps; what is smaller beside the late steps is lost in the sum over the time steps."""
    keeps: float = KEEPS[0]
    """Origin: the range of the evidence for a layer's factors."""

    def check(self, recording: Recording) -> Iterator[Finding | NotJudged]:
        known = learning(recording)
        closed = [s for s in sequences(recording) if self._is_closed(s, self.threshold)]
        if not closed or (known is not None and known.any):
            return
        certain = closed if known is not None else [s for s in closed if self._is_closed(s, self.rounded)]
        if not certain or not recording.optimizers:
            yield NotJudged(self.name, self.kind, "memory_needed", {"where": closed[0].where, "steps": ENOUGH})
            return
        yield self._finding(certain[0], known)

    def _is_closed(self, sequence: Sequence, limit: float) -> bool:
        return sequence.at_start(_flow) < limit and sequence.lately(_flow) < limit  # a NaN compares false

    def _finding(self, sequence: Sequence, known: Learning | None) -> Finding:
        first, recent = sequence.early[0], sequence.lately(_flow)
        cause = self._cause(first)
        return Finding(
            kind="vanishing",
            rule=self.name,
            severity="critical" if known is not None and recent < self.hopeless else "warning",
            cause=cause,
            where=sequence.where,
            step=sequence.step,
            evidence=(
                Evidence("time_flow", first.flow, self.threshold, None, "sum_over_time"),
                Evidence("time_flow_recent", recent, self.threshold, None, "sum_over_time"),
                *factors(first),
            ),
            counter_evidence=() if known is None else (known.evidence,),
            cures=CURES[cause],
            values={
                **written(first),
                "flow": first.flow,
                "reach": reach(first.step) or first.length,
            },
        )

    def _cause(self, reading: TimeReading) -> Cause:
        if reading.step >= self.keeps:
            return "depth"
        slopes = reading.activation if reading.activation is not None else 1.0
        return "activation" if slopes**2 < reading.step else "weights"

    @staticmethod
    def sick() -> Example:
        return first_or_last(reads_first=True)

    @staticmethod
    def healthy() -> Example:
        return first_or_last(reads_first=False)


def _flow(reading: TimeReading) -> float:
    return reading.flow
