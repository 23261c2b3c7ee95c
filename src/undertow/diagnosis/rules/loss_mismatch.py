"""Outputs that are the same whatever the model computes, so that the loss can teach it nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PARAMETERS, PATH
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Recording, Snapshot, Term

CURES: dict[Cause, tuple[str, ...]] = {"loss": ("sigmoid_output", "logits")}
NORMALISES = {"softmax", "log_softmax", "softmin", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize"}


@rule
@dataclass(frozen=True)
class LossMismatch(Rule):
    """The output is normalised to a constant: a softmax over one unit is 1 whatever it is given.

    What
    ----
    Between the last layer of weights and the loss, a softmax or a normalisation gives one value for all samples, though
    what it is given differs.

    Why it hurts
    ------------
    A constant has no derivative: every gradient of the model is exactly 0, from the first step on.

    Evidence
    --------
    A softmax over an axis of length 1 in the graph of the loss.  Or, in every measured step: the loss sends a gradient
    to the output, a normalisation hands back none, its outcome has no spread and what it was given has.

    Counter-evidence
    ----------------
    A head that starts at zero says the same for all samples too, and has a gradient; so has a model that has converged,
    at its start.  An output whose units are dead is flat by its own activation, not by what it shares a sum with.

    Cures
    -----
    One unit takes a sigmoid (best within the loss, `binary_cross_entropy_with_logits`), a softmax takes two.

    References
    ----------
    Bridle (1990), Probabilistic interpretation of feedforward classification network outputs; Zhang et al. (2018), An
    empirical study on TensorFlow program bugs.
    """

    kind = "loss_mismatch"
    needs = (PATH, PARAMETERS)

    rounding: float = 1e-3
    """Origin: √ε of float32 is 3.5e-4, the spread that equal values seem to have by their mean square."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        if recording.wiring is not None and any(t.classes == 1 for t in recording.wiring.terms):
            yield self._in_the_loss(recording, next(t for t in recording.wiring.terms if t.classes == 1))
            return
        found = [self._constant(s) for s in recording.snapshots if s.parameters]
        if not found or any(f is None for f in found):
            return
        entry = next(f for f in found if f is not None)
        spread = entry.forward.std / entry.forward.rms if entry.forward.rms else 0.0
        yield Finding(
            kind="loss_mismatch",
            severity="critical",
            cause="loss",
            where=entry.site.label,
            step=recording.snapshots[0].step,
            evidence=(Evidence("output_spread", spread, self.rounding, None, "output_differs"),),
            cures=CURES["loss"],
            values={"operation": entry.site.operation, "value": f"{entry.forward.mean:.3g}"},
        )

    def _in_the_loss(self, recording: Recording, term: Term) -> Finding:
        """A softmax over one unit, wherever it is: the graph of the loss shows its axis."""
        operation = next(o for o in reversed(term.operations) if "softmax" in o)
        path = recording.snapshots[0].ledger.path
        entry = next((e for e in reversed(path) if e.site.operation == operation), None)
        return Finding(
            kind="loss_mismatch",
            severity="critical",
            cause="loss",
            where=entry.site.label if entry else "loss",
            step=recording.snapshots[0].step,
            evidence=(
                Evidence("output_spread", 0.0, self.rounding, None, "output_differs"),
                Evidence("softmax_units", 1.0, 2.0, None, "twins"),
            ),
            cures=CURES["loss"],
            values={"operation": operation, "value": "0" if operation.startswith("log") else "1"},
        )

    def _constant(self, snapshot: Snapshot) -> Entry | None:
        """The operation that makes a constant of what it is given; None where there is none."""
        path = snapshot.ledger.path
        if not path or not path[-1].backward.max > 0 or _any_gradient(snapshot):
            return None
        last = max((i for i, e in enumerate(path) if e.site.effect == "weights"), default=0)
        for before, entry in zip(path[last:], path[last + 1 :], strict=False):
            varies = before.forward.std > self.rounding * before.forward.rms
            constant = entry.forward.std <= self.rounding * entry.forward.rms or not entry.forward.rms
            if entry.site.operation in NORMALISES and varies and constant and before.backward.max == 0:
                return entry
        return None

    @staticmethod
    def sick() -> Example:
        return _binary(softmax=True)

    @staticmethod
    def healthy() -> Example:
        return _binary(softmax=False)


def _any_gradient(snapshot: Snapshot) -> bool:
    return any(r.gradient is not None and r.gradient.max > 0 for r in snapshot.parameters.values())


def _binary(softmax: bool) -> Example:
    """One output unit for the question of whether the class is above 1, with a head at zero where it is healthy."""
    body = mlp("relu", depth=1, he=True)
    head = nn.Linear(4, 1)
    if not softmax:
        nn.init.zeros_(head.weight)
    model = nn.Sequential(body, head, nn.Softmax(1) if softmax else nn.Sigmoid())

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(output.squeeze(1), (target > 1).float())

    example = classify(model)
    return Example(model, torch.optim.SGD(model.parameters(), 0.05), loss, example.batches)
