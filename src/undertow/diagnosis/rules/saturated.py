"""A layer sits where its activation is flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import SLOPES
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Site, Snapshot
from undertow.record.flow import FLAT_SHARE, LARGE_INPUT, is_fitted, layer_of

CURES = {
    "weights": ("matched_init", "batch_norm", "relu"),
    "input_scale": ("standardise", "batch_norm", "relu", "adam"),
}
PRODUCTS = ("mul", "multiply", "rmul", "imul")
"""Operations whose operands are gates for one another."""


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
    A model that fits its data saturates because it has learned, and nothing is said of it.  An output activation is
    meant to saturate; so is a gate, whose value is multiplied with another one (a forget gate, squeeze-and-excite).

    Cures
    -----
    Standardised inputs, normalisation before the activation, smaller initial weights.

    References
    ----------
    LeCun et al. (1998), Efficient BackProp; Glorot & Bengio (2010).
    """

    kind = "saturated"
    needs = (SLOPES,)

    share: float = FLAT_SHARE
    """Origin: as `record.flow` says; the forecast has the same."""
    still: float = 0.5
    """Origin: half of the units useless for half of the run."""
    large_input: float = LARGE_INPUT
    """Origin: as above."""
    most: float = 0.95
    """Origin: one unit in twenty is left to learn with."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        first = recording.snapshots[0]
        recent = [{e.site: e.slope.flat for e in s.ledger if e.slope} for s in recording.recent]
        stuck: dict[Site, float] = {}
        for entry in leading_to_weights(first):
            late = [flat[entry.site] for flat in recent if entry.site in flat]
            if _flat(entry) >= self.share and late and median(late) >= self.still:
                stuck[entry.site] = median(late)
        if stuck and not is_fitted(recording, recording.snapshots[-1].ledger):
            yield self._finding(first, stuck)

    def _finding(self, snapshot: Snapshot, stuck: dict[Site, float]) -> Finding:
        entry = next(e for e in snapshot.ledger if e.site in stuck)
        slope = entry.slope
        assert slope is not None
        size = snapshot.inputs.rms if snapshot.inputs else 1.0
        is_first = next(leading_to_weights(snapshot)).site == entry.site
        cause: Cause = "input_scale" if is_first and size > self.large_input else "weights"
        before = next((e for e in snapshot.ledger if e.site == entry.previous), None)
        received = before.forward_rms if before else size
        return Finding(
            kind="saturated",
            severity="critical" if slope.flat > self.most else "warning",
            cause=cause,
            where=layer_of(snapshot.ledger, entry).site.label,
            step=snapshot.step,
            evidence=(
                Evidence("flat_share", slope.flat, None, self.share, "own_derivative"),
                Evidence("flat_share_recent", stuck[entry.site], None, self.still, "own_derivative"),
                Evidence("input_rms", size, None, self.large_input, "standardised"),
                Evidence("preactivation_rms", received),
            ),
            cures=CURES[cause],
            values={"share": slope.flat, "act": slope.activation, "input": size, "received": received},
            sites=tuple(site.label for site in stuck),
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("tanh", depth=4, gain=1.0), inputs=300.0)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("tanh", depth=4, gain=1.7), inputs=1.0)


def leading_to_weights(snapshot: Snapshot) -> Iterator[Entry]:
    """Bounded activations that lead to weights, and are no factor of a product on their way."""
    by_site = {e.site: e for e in snapshot.ledger}
    leading: set[Site] = set()
    gates: set[Site] = set()
    for entry in reversed(snapshot.ledger.entries):
        before = by_site.get(entry.previous) if entry.previous else None
        if before is not None and (entry.site.effect == "weights" or entry.site in leading):
            leading.add(before.site)
            if entry.site.operation in PRODUCTS and before.slope is not None:
                gates.add(before.site)
    judged = leading - gates
    return (e for e in snapshot.ledger if e.slope is not None and e.slope.saturating and e.site in judged)


def _flat(entry: Entry) -> float:
    return entry.slope.flat if entry.slope else 0.0
