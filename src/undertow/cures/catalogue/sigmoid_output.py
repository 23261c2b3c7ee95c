"""A sigmoid in place of a softmax over one unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.calls import calls
from undertow.cures.surgery.output import Exchanged, OutputChange, axis_of
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("sigmoid_output")
@dataclass(frozen=True)
class SigmoidOutput(OutputChange):
    """p = σ(h) in place of softmax(h) over an axis of length 1.

    When: the output is one unit for a question with two answers, and a softmax is taken of it.
    Why: the softmax of one number is 1 whatever the number, and every gradient is 0; the sigmoid is the softmax of
    the number beside a 0.
    Not: as many units as classes; there the softmax is over the wrong axis.

    Source: Bridle (1990), Probabilistic interpretation of feedforward classification network outputs.
    """

    name = "sigmoid_output"
    reference = Reference("Bridle", 1990, "Probabilistic interpretation of feedforward classification network outputs")
    treats = ("loss_mismatch",)
    refusal = "no_softmax_of_one"

    def exchanged(self, training: Training) -> Iterator[Exchanged]:
        for call in calls(training):
            axis = axis_of(call) if call.name in ("softmax", "log_softmax") else None
            if axis is not None and call.output.shape[axis] == 1 and call.output.requires_grad:
                yield Exchanged(call, "logsigmoid" if call.name == "log_softmax" else "sigmoid")
