"""The backward value grows on its way back, or from step to step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import EXPLODED, account, exploding_cause, first_weights, flow, is_fitted

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
    The rms of ∂L/∂(tensor) at the first site is more than a hundred times that at the last from the first step on, and
    either stays so, or the first steps moved the first layer's weights by their own size, so that the flow came down
    only because what was there at the start is lost; or the gradient's norm grows a thousandfold over the run's own
    first steps while the loss does not fall.

    Why it hurts
    ------------
    A step that suits the last layer throws the first ones far off; the loss jumps, then leaves the number format.

    Evidence
    --------
    The flow through the ledger, the mean factors, and the relative updates of the first layer; for growth in time the
    norm of every step.  The cause is the weights where they exceed what their activations need, depth where
    normalisation or residual sums grow a little in each layer, the learning rate where the flow was sound at the first
    step.

    Counter-evidence
    ----------------
    A flow that closes while training in small steps; a gradient that was tiny only in the first step, as when training
    leaves a plateau; a model that fits its data all the same (an adaptive optimizer undoes the scale) makes it a note.

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
    growth: float = 1e3
    """Origin: empirical; healthy runs vary by one to two decades."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        early = [s for s in recording.snapshots[:5] if s.ledger.path]
        flows = [flow(s.ledger) for s in early]
        finite = [f for f in flows if math.isfinite(f)]
        if not finite:
            return
        if finite[0] <= self.threshold:
            if max(finite) <= self.threshold:
                yield from self._growing(recording)
            return
        first = next(s for s in early if flow(s.ledger) > self.threshold)
        late = [f for s in recording.recent if math.isfinite(f := flow(s.ledger))]
        stays = not late or median(late) > self.threshold
        moved = self._moved(early, first)
        if stays or moved >= self.replaced:
            yield self._deep(recording, first, moved)

    @staticmethod
    def _moved(early: list[Snapshot], first: Snapshot) -> float:
        """How far the first measured steps moved the first layer's weights, in multiples of their size."""
        name = f"{first_weights(first.ledger).site.module}.weight"
        updates = [s.parameters[name].relative_update for s in early if name in s.parameters]
        return sum(u for u in updates if math.isfinite(u))

    def _deep(self, recording: Recording, first: Snapshot, moved: float) -> Finding:
        size, cause = flow(first.ledger), exploding_cause(first.ledger)
        values = account(first.ledger) | {"growth": size, "rate": _rate(recording)}
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

    def _growing(self, recording: Recording) -> Iterator[Finding]:
        norms = [s for s in recording.steps if math.isfinite(s.gradient_norm) and s.gradient_norm > 0]
        if len(norms) < 2:
            return
        start, last = norms[0].gradient_norm, recording.steps[-1].gradient_norm
        grown = next((s for s in norms if s.gradient_norm > self.growth * start), None)
        if grown is None or (math.isfinite(last) and last < self.growth * start) or _falls(recording):
            return
        snapshot = min(recording.snapshots, key=lambda s: abs(s.step - grown.step))
        growth = grown.gradient_norm / start
        values = account(snapshot.ledger) | {"growth": growth, "rate": _rate(recording)}
        bad = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
        yield Finding(
            kind="exploding",
            severity="critical",
            cause="learning_rate",
            where=first_weights(snapshot.ledger).site.label,
            step=grown.step,
            evidence=(
                Evidence("growth", growth, None, self.growth, "own_history"),
                *([Evidence("first_nonfinite_step", float(bad))] if bad is not None else []),
            ),
            cures=CURES["learning_rate"],
            values=values,
        )

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=12, he=True, gain=2.0), lr=1e-3)

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=12, he=True), scale=1e5, lr=1e-7)


def _falls(recording: Recording) -> bool:
    """Whether the last losses are below the first: a gradient that grows while they fall has left a plateau."""
    losses = [reading.value for reading in recording.losses]
    few = max(1, min(5, len(losses) // 2))
    return len(losses) > 1 and median(losses[-few:]) < median(losses[:few])  # a NaN compares false


def _rate(recording: Recording) -> float:
    return recording.steps[0].learning_rate if recording.steps else 0.0
