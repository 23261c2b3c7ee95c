"""Smooth functions in place of steps."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.place import bracketed
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.source import Edit
from undertow.cures.surgery.steps import Step, steps
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("smooth_step")
@dataclass(frozen=True)
class SmoothStep(Rewrite):
    """relu(h − c) or sigmoid(h − c) for h > c, tanh(h) for sign(h), h for round(h).

    When: a threshold, a sign or a rounding cuts weights off, and nothing needs its values to be hard.
    Why: the derivative is not 0 everywhere, so the layers before it learn.
    Not: values that must be 0 or 1 later on; there the straight-through estimator keeps them.

    Source: Bengio, Léonard and Courville (2013), arXiv:1308.3432, section 1 (smooth parts that can saturate);
    Maddison, Mnih and Teh (2016), arXiv:1611.00712.
    """

    name = "smooth_step"
    reference = Reference(
        "Bengio, Léonard and Courville",
        2013,
        "Estimating or propagating gradients through stochastic neurons for conditional computation",
        "1308.3432",
    )
    treats = ("disconnected",)
    refusal = "no_step"
    label_format = "{name} {by}"
    settings = ({"by": "relu"}, {"by": "sigmoid"})
    by: str = "relu"
    """What stands for a comparison."""

    def edits(self, training: Training) -> tuple[Edit, ...]:
        written = [(step, _smooth(step, self.by)) for step in steps(training)]
        return tuple(step.place.edit(step.whole, text) for step, text in written if text)


def _smooth(step: Step, by: str) -> str:
    if step.rounds:
        operand = step.place.operand
        return bracketed(step.argument, operand) if operand is not None else ""
    function = step.place.torch("tanh" if step.signed else by)
    return f"{function}({step.argument})" if function else ""
