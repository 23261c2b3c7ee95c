"""The output's softmax over the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.output import Exchanged, OutputChange, axis_of, squashed
from undertow.cures.training import Training
from undertow.foundation import Reference

OF_SAMPLES = ("nll_loss", "binary_cross_entropy", "mse_loss", "l1_loss")


@CURES.register("class_axis")
@dataclass(frozen=True)
class ClassAxis(OutputChange):
    """softmax(h, dim=-1) in place of softmax(h, dim=0) of a batch of outputs.

    When: the probabilities of a sample don't sum to 1, because the sum goes over the batch.
    Why: samples then compete with one another, and what is said of one depends on the others.
    Not: weights over the samples, which are meant to sum to 1 over the batch.

    Source: Bridle (1990), Probabilistic interpretation of feedforward classification network outputs.
    """

    name = "class_axis"
    reference = Reference("Bridle", 1990, "Probabilistic interpretation of feedforward classification network outputs")
    treats = ("loss_mismatch",)
    refusal = "no_batch_softmax"

    def exchanged(self, training: Training) -> Iterator[Exchanged]:
        for _, call in squashed(training, OF_SAMPLES):
            if call.name != "sigmoid" and axis_of(call) == 0 and call.output.dim() == 2:
                yield Exchanged(call, call.name, -1)
