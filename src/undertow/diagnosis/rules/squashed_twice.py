"""A loss that squashes what the model has squashed already."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.needs import PATH, TERMS
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Recording, Term

CURES: dict[Cause, tuple[str, ...]] = {"loss": ("logits",)}
PROBABILITIES = ("softmax", "sigmoid")
OF_TWO = math.log1p(math.exp(-1))
"""What is left of a binary cross entropy of σ(p) with p = 1 for the right class, −log σ(1)."""


@rule
@dataclass(frozen=True)
class SquashedTwice(Rule):
    """Probabilities are given to a loss that takes logits: a softmax of a softmax, a sigmoid of a sigmoid.

    What
    ----
    `cross_entropy` behind a softmax or a sigmoid, `binary_cross_entropy_with_logits` behind a sigmoid.

    Why it hurts
    ------------
    The loss takes numbers between 0 and 1 for logits, and a difference of at most 1 between logits leaves the right
    class 1 / (1 + (C − 1)/e) at best: 0.23 of ten classes.  The loss has a floor that no training lowers, and the
    gradient passes the first squashing's derivative, which falls off as soon as the model is sure.

    Evidence
    --------
    The graph of the loss: which operations lie between the loss function and the last layer of weights.

    Counter-evidence
    ----------------
    A log-softmax before a cross entropy changes nothing and is no fault; probabilities that are scaled before the loss
    are logits of the user's own making.

    Cures
    -----
    Give the loss what the last layer gives: take the softmax or the sigmoid out of the model.

    References
    ----------
    PyTorch documentation, CrossEntropyLoss ("the input is expected to contain the unnormalized logits"); Humbatova et
    al. (2020), arXiv:1910.11015 (missing or wrong output activation).
    """

    kind = "loss_mismatch"
    needs = (PATH, TERMS)

    def check(self, recording: Recording) -> Iterator[Finding]:
        assert recording.wiring is not None
        found = next(((t, left) for t in recording.wiring.terms if (left := _left(t)) is not None), None)
        if found is None:
            return
        term, left = found
        last = next((e for e in reversed(recording.snapshots[0].ledger.path) if e.site.operation == _first(term)), None)
        yield Finding(
            kind="loss_mismatch",
            severity="warning",
            cause="loss",
            where=last.site.label if last else "loss",
            step=recording.snapshots[0].step,
            evidence=(Evidence("loss_floor", left, None, 0.0, "reaches_zero"),),
            cures=CURES["loss"],
            values={"first": _first(term), "loss": _named(term), "floor": left},
            rule=self.name,
        )

    @staticmethod
    def sick() -> Example:
        return classify(nn.Sequential(mlp("relu", depth=2, he=True), nn.Softmax(1)))

    @staticmethod
    def healthy() -> Example:
        return classify(nn.Sequential(mlp("relu", depth=2, he=True), nn.LogSoftmax(1)))


def _left(term: Term) -> float | None:
    """The smallest loss that can be reached; None where nothing is squashed twice."""
    match term.operations:
        case (("nll_loss" | "nll_loss2_d"), "log_softmax", first, *_) | ("log_softmax", first, *_) if (
            first in PROBABILITIES
        ):
            classes = term.classes
            return math.log1p((classes - 1) / math.e) if classes > 1 else None
        case ("binary_cross_entropy_with_logits", first, *_) if first in PROBABILITIES:
            return OF_TWO
    return None


def _first(term: Term) -> str:
    return next(o for o in term.operations if o in PROBABILITIES)


def _named(term: Term) -> str:
    return "cross_entropy" if "log_softmax" in term.operations[:2] else term.operations[0]
