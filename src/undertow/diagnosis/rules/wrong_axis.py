"""A softmax over the samples of a batch, where the classes are meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH, TERMS
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Term

CURES: dict[Cause, tuple[str, ...]] = {"loss": ("class_axis",)}
OF_SAMPLES = ("nll_loss", "binary_cross_entropy", "mse_loss")
"""Losses that compare each sample's output with its own target."""


@rule
@dataclass(frozen=True)
class WrongAxis(Rule):
    """The output's softmax sums over the batch: the probabilities of one sample don't sum to 1, and samples compete.

    What
    ----
    The loss takes, sample by sample, what a softmax or log-softmax over the first of two axes gives, and that axis
    is as long as the batch.

    Why it hurts
    ------------
    What the model says of a sample depends on the others of its batch, and the larger the batch the smaller it is.

    Evidence
    --------
    The axis and the shape in the graph of the loss, and the number of samples of the step.

    Counter-evidence
    ----------------
    Weights over the samples of a batch, which no loss takes sample by sample; as many classes as samples, where the
    two axes can't be told apart.

    Cures
    -----
    `softmax(dim=-1)`.

    References
    ----------
    PyTorch documentation, Softmax ("a dimension along which Softmax will be computed").
    """

    kind = "loss_mismatch"
    needs = (PATH, TERMS)

    def check(self, recording: Recording) -> Iterator[Finding]:
        assert recording.wiring is not None
        first = recording.snapshots[0]
        samples = first.samples // max(first.stage.passes, 1)
        term = next((t for t in recording.wiring.terms if self._over_samples(t, samples)), None)
        if term is None:
            return
        entry = next((e for e in reversed(first.ledger.path) if "softmax" in e.site.operation), None)
        yield Finding(
            kind="loss_mismatch",
            severity="warning",
            cause="loss",
            where=entry.site.label if entry else "loss",
            step=first.step,
            evidence=(
                Evidence("softmax_axis", 0.0, 1.0, None, "axis_of_classes"),
                Evidence("softmax_units", float(term.shape[0]), None, float(term.shape[1]), "axis_of_classes"),
            ),
            cures=CURES["loss"],
            values={"samples": term.shape[0], "classes": term.shape[1]},
            rule=self.name,
        )

    @staticmethod
    def _over_samples(term: Term, samples: int) -> bool:
        if term.axis != 0 or len(term.shape) != 2 or not term.operations[0].startswith(OF_SAMPLES):
            return False
        return samples == term.shape[0] > 1 and term.shape[0] != term.shape[1]

    @staticmethod
    def sick() -> Example:
        return _log_likelihood(axis=0)

    @staticmethod
    def healthy() -> Example:
        return _log_likelihood(axis=1)


def _log_likelihood(axis: int) -> Example:
    model = nn.Sequential(mlp("relu", depth=2, he=True), nn.LogSoftmax(axis))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(output, target)

    return Example(model, torch.optim.SGD(model.parameters(), 0.05), loss, classify(model).batches)
