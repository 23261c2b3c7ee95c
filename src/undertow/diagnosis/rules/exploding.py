"""The backward value grows on its way back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.learning import learning
from undertow.diagnosis.needs import PATH
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import EXPLODED, account, exploding_cause, first_weights, flow, is_fitted

CURES = {
    "weights": ("matched_init", "batch_norm", "clip_norm", "learning_rate"),
    "activation": ("relu", "tanh", "batch_norm", "clip_norm"),
    "depth": ("block_norm", "residual", "residual_scale", "layer_norm", "learning_rate", "clip_norm", "adam"),
}


@rule
@dataclass(frozen=True)
class Exploding(Rule):
    """The backward value grows from layer to layer on its way to the first.

    What
    ----
    The rms of ∂L/∂(tensor) at the first site is more than a hundred times that at the last from the first step on, and
    it stays so, or the first steps moved the first layer's weights by their own size, so that the flow came down only
    because what was there at the start is lost, or the model does not learn.

    Why it hurts
    ------------
    A step that suits the last layer throws the first ones far off; the loss jumps, then leaves the number format.

    Evidence
    --------
    The flow through the ledger, the mean factors, and the relative updates of the first layer.  The cause is the
    weights where they exceed what their activations need, depth where normalisation or residual sums grow a little in
    each layer.  A gradient that grows from step to step at a sound flow is `unstable_lr`.

    Counter-evidence
    ----------------
    A flow that closes in small steps while the model learns.  A model that fits its data all the same makes it a note:
    an adaptive optimizer undoes the scale.

    Cures
    -----
    Initial weights matched to the activation, normalisation, clipping, a lower or an adaptive rate.  ReLU does not
    help: its derivative is 1 wherever it is not 0.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), arXiv:1211.5063; Yang et al. (2019), arXiv:1902.08129 (BatchNorm);
    Zhang, Dauphin & Ma (2019), arXiv:1901.09321 (residual sums).
    """

    kind = "exploding"
    needs = (PATH,)

    threshold: float = EXPLODED
    """Origin: as `record.flow` says; the forecast has the same."""
    replaced: float = 1.0
    """Origin: steps as long as the weights themselves leave at most half of their square to what was there."""
    enough: float = 0.25
    """Origin: Cohen (1988) calls a correlation of one half between output and target a large effect; its square."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        early = [s for s in recording.snapshots[:5] if s.ledger.path]
        flows = [flow(s.ledger) for s in early]
        first = next((s for s, size in zip(early, flows, strict=True) if math.isfinite(size)), None)
        if first is None or flow(first.ledger) <= self.threshold:
            return
        late = [f for s in recording.recent if math.isfinite(f := flow(s.ledger))]
        stays = not late or median(late) > self.threshold
        moved = self._moved(early, first)
        learned = learning(recording)
        idle = learned is not None and learned.share < self.enough
        if stays or moved >= self.replaced or idle:
            yield self._deep(recording, first, moved)

    @staticmethod
    def _moved(early: list[Snapshot], first: Snapshot) -> float:
        """How far the first measured steps moved the first layer's weights, in multiples of their size."""
        name = f"{first_weights(first.ledger).site.module}.weight"
        updates = [s.parameters[name].relative_update for s in early if name in s.parameters]
        return sum(u for u in updates if math.isfinite(u))

    def _deep(self, recording: Recording, first: Snapshot, moved: float) -> Finding:
        size, cause, values = flow(first.ledger), exploding_cause(first.ledger), account(first.ledger)
        fitted = is_fitted(recording, recording.snapshots[-1].ledger)
        bad = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
        hopeless = bad is not None or size > self.threshold**2
        evidence = [
            Evidence("flow", size, 1 / self.threshold, self.threshold, "one_rate"),
            Evidence("activation_factor", values["activation"], 0.7, 1.4, "keeps_size"),
            Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
        ]
        if moved:
            evidence.append(Evidence("moved", moved, None, self.replaced, "own_weights"))
        if bad is not None:
            evidence.append(Evidence("first_nonfinite_step", float(bad)))
        return Finding(
            kind="exploding",
            severity="note" if fitted and bad is None else "critical" if hopeless else "warning",
            cause=cause,
            where=first_weights(first.ledger).site.label,
            step=first.step,
            evidence=tuple(evidence),
            counter_evidence=(Evidence("fitted", float(fitted), None, 0.0, "not_fitted"),),
            cures=CURES[cause],
            values=values,
            sites=tuple(e.site.label for e in first.ledger.path),
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=12, he=True, gain=2.0), lr=1e-3)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=12, he=True), scale=1e5, lr=1e-7)
