"""A layer sits where its activation is flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Snapshot
from undertow.record.flow import FLAT_SHARE, LARGE_INPUT, is_fitted

CURES = {
    "weights": ("matched_init", "batch_norm", "relu"),
    "input_scale": ("batch_norm", "relu", "adam"),
}


@rule
@dataclass(frozen=True)
class Saturated(Rule):
    """Most inputs of a bounded activation lie where its derivative is nearly zero.

    What
    ----
    In a layer with an activation that is flat at both ends, seven of ten derivatives are below 5 % of the steepest
    one of that activation, in the first measured steps, and still are half of them in the last half of the run.

    Why it hurts
    ------------
    Such a unit passes almost no gradient to what is before it, and does not leave its place by itself.

    Evidence
    --------
    The share of flat derivatives, by the activation's own f′ (not by the size of its output), and the rms of what the
    layer was given.  The cause is the input's scale where the model's input is far from unit size and its first
    activation is the one concerned, else the weights.

    Counter-evidence
    ----------------
    A model that fits its data saturates at the end because it has learned; an output activation is meant to.

    Cures
    -----
    Standardised inputs, normalisation before the activation, smaller initial weights.

    References
    ----------
    LeCun et al. (1998), Efficient BackProp; Glorot & Bengio (2010).
    """

    kind = "saturated"

    share: float = FLAT_SHARE
    """Origin: as `record.flow` says; the forecast has the same."""
    still: float = 0.5
    """Origin: half of the units useless for half of the run."""
    large_input: float = LARGE_INPUT
    """Origin: as above."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        first = recording.snapshots[0]
        recent = [{e.site: e.slope.flat for e in s.ledger if e.slope} for s in recording.recent]
        for entry in self._judged(first):
            assert entry.slope is not None
            late = [flat[entry.site] for flat in recent if entry.site in flat]
            if entry.slope.flat < self.share or not late or median(late) < self.still:
                continue
            if is_fitted(recording, recording.snapshots[-1].ledger):
                return
            yield self._finding(entry, first, median(late))
            return

    def _judged(self, snapshot: Snapshot) -> Iterator[Entry]:
        """Bounded activations but for the last operation, whose flatness the loss asks for."""
        last = snapshot.ledger.path[-1].site if snapshot.ledger.path else None
        return (e for e in snapshot.ledger if e.slope is not None and e.slope.saturating and e.site != last)

    def _finding(self, entry: Entry, snapshot: Snapshot, late: float) -> Finding:
        slope = entry.slope
        assert slope is not None
        size = snapshot.inputs.rms if snapshot.inputs else 1.0
        is_first = next(self._judged(snapshot)).site == entry.site
        cause: Cause = "input_scale" if is_first and size > self.large_input else "weights"
        before = next((e for e in snapshot.ledger if e.site == entry.previous), None)
        received = before.forward_rms if before else size
        return Finding(
            kind="saturated",
            severity="critical" if slope.flat > 0.95 else "warning",
            cause=cause,
            where=entry.site.label,
            step=snapshot.step,
            evidence=(
                Evidence("flat_share", slope.flat, None, self.share, "own_derivative"),
                Evidence("flat_share_recent", late, None, self.still, "own_derivative"),
                Evidence("input_rms", size, None, self.large_input, "standardised"),
                Evidence("preactivation_rms", received, None, None, ""),
            ),
            cures=CURES[cause],
            values={"share": slope.flat, "act": slope.activation, "input": size, "received": received},
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("tanh", depth=4, gain=1.0), inputs=300.0)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("tanh", depth=4, gain=1.7), inputs=1.0)
