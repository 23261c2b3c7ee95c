"""A loss that sends nothing back to the output, though it is not 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import LOSSES, PARAMETERS, PATH
from undertow.diagnosis.onset import onset
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Snapshot
from undertow.record.flow import FITTED

CURES: dict[Cause, tuple[str, ...]] = {"loss": ()}


@rule
@dataclass(frozen=True)
class SilentLoss(Rule):
    """The loss is not 0 and its gradient is: it does not depend on the output, or is flat where the output lies.

    What
    ----
    At the output and in every weight the gradient is exactly 0, in the last measured steps in a row, and the loss is
    more than a tenth of what it was at the start.

    Why it hurts
    ------------
    Nothing is learned any more, and no optimizer can change that.

    Evidence
    --------
    The backward value at the model's output, and the loss of the same steps.

    Counter-evidence
    ----------------
    A hinge that is satisfied and a model that fits have no gradient either: their loss is 0, or small beside its start.
    A batch that counts for nothing, as one that is masked, comes alone.

    Cures
    -----
    Take out what cuts the output off from the loss: a clamp, a comparison, a constant in the place of the output.

    References
    ----------
    Goodfellow, Bengio & Courville (2016), Deep Learning, 6.2.2 (outputs that saturate must be undone by the loss).
    """

    kind = "loss_mismatch"
    needs = (PATH, PARAMETERS, LOSSES)

    small: float = FITTED
    """Origin: as `record.flow` says of a gradient; a loss that fell so far has learned."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        losses = {reading.step: reading.value for reading in recording.losses}
        start = abs(recording.losses[0].value)
        sent = [(s, _sent(s)) for s in recording.snapshots if s.ledger.path and s.parameters and s.step in losses]
        place = onset(sent, lambda size: size == 0)
        if place is None or not start:
            return
        left = min(abs(losses[s.step]) for s, _ in sent[place:]) / start
        if left > self.small:
            yield self._finding(sent[place][0], left, len(sent) - place)

    def _finding(self, first: Snapshot, left: float, steps: int) -> Finding:
        last = first.ledger.path[-1]
        return Finding(
            kind="loss_mismatch",
            rule=self.name,
            severity="critical",
            cause="loss",
            where=last.site.label,
            step=first.step,
            evidence=(
                Evidence("silent_steps", float(steps), None, 0.0, "loss_of_zero"),
                Evidence("loss_left", left, None, self.small, "own_history"),
            ),
            cures=CURES["loss"],
            values={"left": left, "steps": steps},
        )

    @staticmethod
    def sick() -> Example:
        return _clamped(1.0)

    @staticmethod
    def healthy() -> Example:
        return _clamped(1e3)


def _sent(snapshot: Snapshot) -> float:
    """The largest gradient that the loss sends to the output, or to any weight."""
    received = (p.gradient.max for p in snapshot.parameters.values() if p.gradient is not None)
    return max(snapshot.ledger.path[-1].backward.max, max(received, default=0.0))


def _clamped(most: float) -> Example:
    """Logits around 10 that are clamped before the loss, as if they were a probability."""
    example = classify(mlp("relu", depth=2, he=True))
    with torch.no_grad():
        example.model.get_parameter("4.bias").add_(10.0)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.clamp(-most, most), target)

    return Example(example.model, example.optimizer, loss, example.batches)
