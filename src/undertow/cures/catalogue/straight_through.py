"""Step functions with the derivative of what they are given."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.place import bracketed
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.source import Edit
from undertow.cures.surgery.steps import Step, steps
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("straight_through", "ste")
@dataclass(frozen=True)
class StraightThrough(Rewrite):
    """y ← step(h) + h − detach(h): the value of the step, the derivative of h.

    When: a threshold, a sign or a rounding that is wanted cuts weights off: hard gates, quantised or spiking layers.
    Why: the value stays as it is, and the backward value passes as if the step were not there.
    Not: steps that need not be hard, where a smooth function trains better; the gradient is a biased one.

    Source: Bengio, Léonard and Courville (2013), arXiv:1308.3432; Hubara et al. (2016), arXiv:1602.02830.
    """

    name = "straight_through"
    reference = Reference(
        "Bengio, Léonard and Courville",
        2013,
        "Estimating or propagating gradients through stochastic neurons for conditional computation",
        "1308.3432",
    )
    treats = ("disconnected",)
    refusal = "no_step"

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = [step for step in steps(training) if step.simple]
        return tuple(step.place.edit(step.whole, _passing(step)) for step in found)


def _passing(step: Step) -> str:
    text = f"{bracketed(step.text, step.whole)} + {step.argument} - {step.argument}.detach()"
    return text if step.alone else f"({text})"
