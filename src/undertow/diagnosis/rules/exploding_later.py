"""A flow that was sound comes to grow on its way back, and what had been learned is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import LOSSES, PATH
from undertow.diagnosis.onset import brought_by, costs, onset
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import EXPLODED, account, first_weights, flow, is_fitted

CURES: dict[Cause, tuple[str, ...]] = {
    "input_scale": ("standardise", "clip_norm"),
    "learning_rate": ("learning_rate", "clip_norm", "batch_norm"),
    "weights": ("weight_decay", "clip_norm", "batch_norm"),
}


@rule
@dataclass(frozen=True)
class ExplodingLater(Rule):
    """The backward value comes to grow from layer to layer in training, and the model loses what it had learned.

    What
    ----
    The rms of ∂L/∂(tensor) at the first site is more than a hundred times that at the last, and than it was at the
    start, in every measured step since some step of the run; and more than a tenth of what had been learned until then
    is lost.

    Why it hurts
    ------------
    The rate that suited all layers throws the first ones off; what follows is a loss that leaves the number format.

    Evidence
    --------
    The flow through the ledger, at the start and since then, and the mean factor of the weights.  The cause is the
    input's scale where that has grown threefold, the learning rate where a step was as long as a weight, else what has
    made the weights grow.

    Counter-evidence
    ----------------
    A flow that grows as a model learns; while the loss does not tell of harm nothing is said.  A state that passes.

    Cures
    -----
    A lower rate, clipping, weight decay, normalisation.

    References
    ----------
    Pascanu, Mikolov & Bengio (2013), arXiv:1211.5063.
    """

    kind = "exploding"
    needs = (PATH, LOSSES)

    threshold: float = EXPLODED
    """Origin: as `record.flow` says, and two decades more than at the run's own start."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        flows = [(s, size) for s in recording.snapshots if s.ledger.path and math.isfinite(size := flow(s.ledger))]
        if not flows or is_fitted(recording, recording.snapshots[-1].ledger):
            return
        bar = self.threshold * max(flows[0][1], 1.0)
        place = onset(flows, lambda size: size > bar)
        if place and costs(recording, flows[place][0].step):
            yield self._finding(recording, place, flows)

    def _finding(self, recording: Recording, place: int, flows: list[tuple[Snapshot, float]]) -> Finding:
        began = flows[place][0]
        cause, values = brought_by(recording, began.step), account(flows[-1][0].ledger)
        return Finding(
            kind="exploding",
            rule=self.name,
            severity="critical" if flows[-1][1] > self.threshold**2 else "warning",
            cause=cause,
            where=first_weights(began.ledger).site.label,
            step=began.step,
            evidence=(
                Evidence("flow", flows[-1][1], 1 / self.threshold, self.threshold, "one_rate"),
                Evidence("flow_first", flows[0][1], 1 / self.threshold, self.threshold, "one_rate"),
                Evidence("weights_factor", values["weights"], 0.7, 1.4, "keeps_size"),
            ),
            cures=CURES[cause],
            values=values | {"before": flows[0][1], "rate": recording.steps[-1].learning_rate},
            sites=tuple(e.site.label for e in began.ledger.path),
        )

    @staticmethod
    def sick() -> Example:
        return _scaling(1.1, lr=1e-6)

    @staticmethod
    def healthy() -> Example:
        return _scaling(0.999, lr=0.02)


class _Scaling(torch.optim.SGD):
    """Multiplies the weights after each step, as a weight decay of the wrong sign does."""

    factor = 1.0

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        loss = super().step(closure)
        for parameter in self.param_groups[0]["params"]:
            parameter.mul_(self.factor)
        return loss


def _scaling(factor: float, lr: float) -> Example:
    example = classify(mlp("relu", depth=4, he=True), steps=24)
    example.optimizer = _Scaling(example.model.parameters(), lr)
    example.optimizer.factor = factor
    return example
