"""The loss in logits form: each value is squashed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.output import Exchanged, OutputChange, axis_of, squashed
from undertow.cures.training import Training
from undertow.foundation import Reference

TAKES_LOGITS = ("cross_entropy", "binary_cross_entropy_with_logits")


@CURES.register("logits")
@dataclass(frozen=True)
class Logits(OutputChange):
    """cross_entropy(h) in place of cross_entropy(softmax(h)), and nll_loss(log_softmax(h)) of nll_loss(softmax(h)).

    When: the loss takes logits and is given probabilities, or takes logarithms and is given none.
    Why: what is squashed twice has a loss with a floor, and a gradient that dies as soon as the model is sure.
    Not: code that reads the model's output as probabilities: it takes the softmax of it from now on.

    Source: Bridle (1990), Probabilistic interpretation of feedforward classification network outputs; the PyTorch
    documentation of CrossEntropyLoss ("the input is expected to contain the unnormalized logits").
    """

    name = "logits"
    reference = Reference("Bridle", 1990, "Probabilistic interpretation of feedforward classification network outputs")
    treats = ("loss_mismatch",)
    refusal = "no_probabilities"

    def exchanged(self, training: Training) -> Iterator[Exchanged]:
        for loss, call in squashed(training, (*TAKES_LOGITS, "nll_loss")):
            if loss.name in TAKES_LOGITS and call.name != "log_softmax":
                yield Exchanged(call, "")
            elif loss.name == "nll_loss" and call.name == "softmax" and (axis := axis_of(call)) is not None:
                yield Exchanged(call, "log_softmax", axis)
