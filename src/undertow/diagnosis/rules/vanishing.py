"""The backward value dies on its way back through the layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import (
    EXPLODED,
    LOST,
    VANISHED,
    account,
    born_zero,
    first_weights,
    flow_without,
    is_fitted,
    vanishing_cause,
)

CURES = {
    "activation": ("relu", "frelu", "batch_norm", "leaky_relu", "swish", "elu"),
    "weights": ("matched_init", "orthogonal_init", "batch_norm", "relu"),
    "depth": ("residual", "batch_norm", "matched_init", "relu"),
    "learning_rate": ("learning_rate", "clip_norm", "batch_norm"),
}


@rule
@dataclass(frozen=True)
class Vanishing(Rule):
    """The backward value shrinks from layer to layer until nothing reaches the first ones.

    What
    ----
    The rms of ∂L/∂(tensor) at the first site is less than a thousandth of that at the last, in the first measured
    steps, and still is in the last half of the run; or it has become so in training and stayed so.

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
    A flow that opens while training, and units that are dead or identical, which stop the gradient altogether.  A
    gradient at the output that has shrunk tenfold because the model fits its data makes it a note.  Layers that begin
    at 0 on purpose (a head, a residual branch) are left out of the account: they open with their first step.

    Cures
    -----
    An activation whose derivative is near 1 (ReLU family), normalisation before the activation, initial weights
    matched to the activation.

    References
    ----------
    Hochreiter (1991); Bengio, Simard & Frasconi (1994); Glorot & Bengio (2010); He et al. (2015), arXiv:1502.01852.
    """

    kind = "vanishing"
    needs = (PATH,)

    threshold: float = VANISHED
    """Origin: as `record.flow` says; the forecast has the same."""
    hopeless: float = LOST
    """Origin: as above."""
    fallen: float = EXPLODED
    """Origin: two decades below the run's own first step, which is more than a sound flow moves while it learns; where
    the first step was below the threshold already and opened soon, it is not held against what came later."""
    lasting: int = 3
    """Origin: three measured steps in a row; one batch of outliers, or one step after a jump, is no state."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        zero = born_zero(recording)
        flows = [(s, flow_without(s.ledger, zero, "weights")) for s in recording.snapshots if s.ledger.path]
        flows = [(s, size) for s, size in flows if not math.isnan(size)]  # no gradient at the output: nothing to judge
        begun = self._since(recording, flows)
        if begun is None:
            return
        half = recording.last_step / 2
        recent = median([size for s, size in flows if s.step >= half] or [flows[-1][1]])
        first, left = begun
        developed = first.step > flows[0][0].step and flows[0][1] >= self.threshold
        cause: Cause = "learning_rate" if developed else vanishing_cause(first.ledger)
        fitted = is_fitted(recording, flows[-1][0].ledger)
        values = account(first.ledger) | {
            "before": flows[0][1],
            "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
        }
        yield Finding(
            kind="vanishing",
            severity="note" if fitted else "critical" if recent < self.hopeless else "warning",
            cause=cause,
            where=first_weights(first.ledger).site.label,
            step=first.step,
            evidence=(
                Evidence("flow", left, self.threshold, 1 / self.threshold, "one_rate"),
                Evidence("flow_recent", recent, self.threshold, 1 / self.threshold, "one_rate"),
                Evidence("activation_factor", values["activation"], 0.7, 1.4, "keeps_size"),
                Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
            ),
            counter_evidence=(Evidence("fitted", float(fitted), None, 0.0, "not_fitted"),),
            cures=CURES[cause],
            values=values,
            sites=tuple(e.site.label for e in first.ledger.path),
        )

    def _since(self, recording: Recording, flows: list[tuple[Snapshot, float]]) -> tuple[Snapshot, float] | None:
        """The first measured step of a fault that is there from the start, or that has come to stay."""
        if not flows:
            return None
        half = recording.last_step / 2
        early, late = flows[:5], [pair for pair in flows if pair[0].step >= half] or flows[-1:]
        if all(median(size for _, size in part) < self.threshold for part in (early, late)):
            return next(pair for pair in early if pair[1] < self.threshold)
        bar = min(self.threshold, flows[0][1] / self.fallen)
        sound = next((i for i in range(len(flows), 0, -1) if flows[i - 1][1] >= bar), 0)
        return flows[sound] if len(flows) - sound >= self.lasting else None

    @staticmethod
    def sick() -> Example:
        return classify(mlp("sigmoid", depth=12))

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=12, he=True), scale=1e-6)
