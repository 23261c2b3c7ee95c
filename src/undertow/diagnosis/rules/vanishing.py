"""The backward value dies on its way back through the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import LOST, VANISHED, account, first_weights, flow, is_fitted, vanishing_cause

CURES = {
    "activation": ("relu", "batch_norm", "leaky_relu", "swish", "elu"),
    "weights": ("matched_init", "batch_norm", "relu"),
    "depth": ("batch_norm", "matched_init", "relu"),
}


@rule
@dataclass(frozen=True)
class Vanishing(Rule):
    """The backward value shrinks from layer to layer until nothing reaches the first ones.

    What
    ----
    The rms of ∂L/∂(tensor) at the first site is less than a thousandth of that at the last, in the first measured
    steps, and still is in the last half of the run.

    Why it hurts
    ------------
    One learning rate serves all layers: the first ones learn a thousand times slower than the last, or, once the
    values leave the number format, not at all.

    Evidence
    --------
    The flow through the ledger, which does not change with the scale of the loss, and the mean factors of the
    activation derivatives and of the weights.  The cause is the kind of factor that shrinks the most.

    Counter-evidence
    ----------------
    A flow that opens while training, a gradient at the output that has shrunk because the model fits its data, and
    units that are dead or identical, which stop the gradient altogether.

    Cures
    -----
    An activation whose derivative is near 1 (ReLU family), normalisation before the activation, initial weights
    matched to the activation.

    References
    ----------
    Hochreiter (1991); Bengio, Simard & Frasconi (1994); Glorot & Bengio (2010); He et al. (2015), arXiv:1502.01852.
    """

    kind = "vanishing"

    threshold: float = VANISHED
    """Origin: as `record.flow` says; the forecast has the same."""
    hopeless: float = LOST
    """Origin: as above."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        early = [s for s in recording.snapshots[:5] if s.ledger.path]
        late = [s for s in recording.recent if s.ledger.path]
        if not early or not late or not self._vanishes(early) or not self._vanishes(late):
            return
        first = next(s for s in early if flow(s.ledger) < self.threshold)
        cause, values = vanishing_cause(first.ledger), account(first.ledger)
        left = flow(first.ledger)
        recent = median(flow(s.ledger) for s in late)
        yield Finding(
            kind="vanishing",
            severity="critical" if recent < self.hopeless else "warning",
            cause=cause,
            where=first_weights(first.ledger).site.label,
            step=first.step,
            evidence=(
                Evidence("flow", left, self.threshold, 1 / self.threshold, "one_rate"),
                Evidence("flow_recent", recent, self.threshold, 1 / self.threshold, "one_rate"),
                Evidence("activation_factor", values["activation"], 0.7, 1.4, "keeps_size"),
                Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
            ),
            counter_evidence=(
                Evidence("fitted", float(is_fitted(recording, late[-1].ledger)), None, 0.0, "not_fitted"),
            ),
            cures=CURES[cause],
            values=values,
        )

    def _vanishes(self, snapshots: list[Snapshot]) -> bool:
        flows = [flow(s.ledger) for s in snapshots]
        return median(flows) < self.threshold  # a NaN compares false: no gradient at the output is no flow to judge

    @staticmethod
    def sick() -> Example:
        return classify(mlp("sigmoid", depth=12))

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=12, he=True), scale=1e-6)
