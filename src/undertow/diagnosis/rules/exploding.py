"""The backward value grows on its way back, or from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding
from undertow.record import Recording
from undertow.record.flow import EXPLODED, account, exploding_cause, first_weights, flow

CURES = {
    "weights": ("matched_init", "batch_norm", "clip_norm", "learning_rate"),
    "activation": ("relu", "batch_norm", "clip_norm"),
    "depth": ("learning_rate", "clip_norm", "adam"),
    "learning_rate": ("learning_rate", "clip_norm", "adam", "rmsprop"),
}


@rule
@dataclass(frozen=True)
class Exploding(Rule):
    """The backward value grows from layer to layer, or the gradient grows from step to step.

    What
    ----
    The rms of ∂L/∂(tensor) at the first site is more than a hundred times that at the last from the first step on and
    stays so; or the gradient's norm grows a thousandfold over the run's own first steps.

    Why it hurts
    ------------
    A step that suits the last layer throws the first ones far off; the loss jumps, then leaves the number format.

    Evidence
    --------
    The flow through the ledger and the mean factors; for growth in time the norm of every step.  The cause is the
    weights where they exceed what their activations need, depth where normalisation or residual sums grow a little in
    each layer, the learning rate where the flow was sound at the first step.

    Counter-evidence
    ----------------
    A flow that closes while training; a gradient that was tiny only in the first step.

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

    threshold: float = EXPLODED
    """Origin: as `record.flow` says; the forecast has the same."""
    growth: float = 1e3
    """Origin: empirical; healthy runs vary by one to two decades."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        early = [s for s in recording.snapshots[:5] if s.ledger.path]
        flows = [flow(s.ledger) for s in early]
        finite = [f for f in flows if math.isfinite(f)]
        late = [f for s in recording.recent if math.isfinite(f := flow(s.ledger))]
        if finite and finite[0] > self.threshold and (not late or median(late) > self.threshold):
            first = next(s for s in early if flow(s.ledger) > self.threshold)
            yield self._finding(exploding_cause(first.ledger), first, flow(first.ledger), recording)
        elif finite and max(finite) <= self.threshold:
            yield from self._growing(recording)

    def _growing(self, recording: Recording) -> Iterator[Finding]:
        norms = [s for s in recording.steps if math.isfinite(s.gradient_norm) and s.gradient_norm > 0]
        if len(norms) < 2:
            return
        start = norms[0].gradient_norm
        grown = next((s for s in norms if s.gradient_norm > self.growth * start), None)
        last = recording.steps[-1].gradient_norm
        if grown is None or (math.isfinite(last) and last < self.growth * start):
            return
        snapshot = min(recording.snapshots, key=lambda s: abs(s.step - grown.step))
        yield self._finding("learning_rate", snapshot, grown.gradient_norm / start, recording, grown.step)

    def _finding(self, cause, snapshot, size, recording: Recording, step: int | None = None) -> Finding:
        values = account(snapshot.ledger) | {
            "growth": size,
            "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
        }
        by_time = cause == "learning_rate"
        evidence = [
            Evidence("growth", size, None, self.growth, "own_history")
            if by_time
            else Evidence("flow", size, 1 / self.threshold, self.threshold, "one_rate"),
            Evidence("activation_factor", values["activation"], 0.7, 1.4, "keeps_size"),
            Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
        ]
        bad = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
        if bad is not None:
            evidence.append(Evidence("first_nonfinite_step", float(bad), None, None, ""))
        return Finding(
            kind="exploding",
            severity="critical" if bad is not None or by_time or size > self.threshold**2 else "warning",
            cause=cause,
            where=first_weights(snapshot.ledger).site.label,
            step=snapshot.step if step is None else step,
            evidence=tuple(evidence),
            cures=CURES[cause],
            values=values,
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=12, he=True, gain=2.0), lr=1e-3)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=12, he=True), scale=1e5, lr=1e-7)
