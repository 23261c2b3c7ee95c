"""A layer that was sound becomes flat in training, and what had been learned is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.diagnosis.examples import mlp, shifted
from undertow.diagnosis.needs import LOSSES, SLOPES
from undertow.diagnosis.onset import brought_by, costs, onset
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.diagnosis.rules.saturated import leading_to_weights
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Snapshot
from undertow.record.flow import FLAT_SHARE, is_fitted, layer_of

CURES: dict[Cause, tuple[str, ...]] = {
    "input_scale": ("standardise", "batch_norm"),
    "learning_rate": ("learning_rate", "clip_norm", "batch_norm"),
    "weights": ("batch_norm", "layer_norm"),
}


@rule
@dataclass(frozen=True)
class SaturatedLater(Rule):
    """A bounded activation that was sound at the start becomes flat, and the model loses what it had learned.

    What
    ----
    Seven of ten derivatives of a layer are below 5 % of the steepest one, in every measured step since some step of the
    run, though they were not at the start; and more than a tenth of what had been learned until then
    is lost.

    Why it hurts
    ------------
    Such a unit passes almost no gradient to what is before it: what has driven it there can't bring it back.

    Evidence
    --------
    The share of flat derivatives since then, the size of the model's input before and after, and the loss.  The cause
    is the input's scale where that has grown threefold, the learning rate where a step was as long as a weight, else
    what has changed the weights.

    Counter-evidence
    ----------------
    Units become flat as a model learns; while the loss does not tell of harm nothing is said.  A state that passes.

    Cures
    -----
    Inputs on the scale of those before, a lower rate or clipping, normalisation before the activation.

    References
    ----------
    LeCun et al. (1998), Efficient BackProp; Glorot & Bengio (2010), figures 2 and 3 (layers that saturate in training).
    """

    kind = "saturated"
    needs = (SLOPES, LOSSES)

    share: float = FLAT_SHARE
    """Origin: as `record.flow` says."""
    most: float = 0.95
    """Origin: one unit in twenty is left to learn with."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        last = recording.snapshots[-1]
        if is_fitted(recording, last.ledger):
            return
        found: list[tuple[Snapshot, Entry]] = []
        for entry in leading_to_weights(last):
            flat = [
                (s, e.slope.flat) for s in recording.snapshots for e in s.ledger if e.site == entry.site and e.slope
            ]
            place = onset(flat, lambda share: share >= self.share)
            if place:  # at 0 it was flat from the start, which is another rule's
                found.append((flat[place][0], entry))
        if not found:
            return
        began = min(s.step for s, _ in found)
        if costs(recording, began):
            yield self._finding(recording, found, began)

    def _finding(self, recording: Recording, found: list[tuple[Snapshot, Entry]], began: int) -> Finding:
        entry, last = found[0][1], recording.snapshots[-1]
        assert entry.slope is not None
        cause = brought_by(recording, began)
        before = next((s.inputs.rms for s in recording.snapshots if s.inputs), 1.0)
        now = last.inputs.rms if last.inputs else 1.0
        return Finding(
            kind="saturated",
            rule=self.name,
            severity="critical" if entry.slope.flat > self.most else "warning",
            cause=cause,
            where=layer_of(last.ledger, entry).site.label,
            step=began,
            evidence=(
                Evidence("flat_share", entry.slope.flat, None, self.share, "own_derivative"),
                Evidence("input_growth", now / before if before else 1.0, None, 3.0, "own_history"),
            ),
            cures=CURES[cause],
            values={
                "share": entry.slope.flat,
                "act": entry.slope.activation,
                "input": now,
                "before": before,
                "rate": recording.steps[-1].learning_rate,
            },
            sites=tuple(e.site.label for _, e in found),
        )

    @staticmethod
    def sick() -> Example:
        return shifted(mlp("tanh", depth=3, gain=1.0), by=100.0)

    @staticmethod
    def healthy() -> Example:
        return shifted(mlp("tanh", depth=3, gain=1.0), by=0.2)
