"""Wider hidden layers."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.copying import copied
from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.swap import frozen_refused, redraw, redraw_line
from undertow.cures.surgery.widening import widen_, widths
from undertow.cures.training import Training, first_batch
from undertow.cures.trials.seeding import random_state_kept
from undertow.foundation import InputError, Reference, say
from undertow.probe import objective

WIDE = 32
"""From so many units on width is not what a layer lacks: that one is born dead has the chance 2^-32, and a wider one
costs more than any other cure."""


@CURES.register("wider", "width")
@dataclass(frozen=True)
class Wider(Cure):
    """n ← factor · n units in each hidden layer, with weights drawn for its activation.

    When: layers of a few units: rectified ones die as a whole, at birth already, and all lose directions of the signal
    from layer to layer.
    Why: a layer of n rectified units is born dead for an input with probability 2⁻ⁿ, and in finite networks the size
    of gradients varies from draw to draw as exp(depth / n).
    Not: wide networks; a pretrained one, whose weights it throws away; memory and time: factor² times the weights.

    Source: Lu, Shin, Su and Karniadakis (2019), arXiv:1903.06733; Hanin and Nica (2018), arXiv:1812.05994.
    """

    name = "wider"
    reference = Reference("Lu, Shin, Su and Karniadakis", 2019, "Dying ReLU and initialization", "1903.06733")
    treats = ("dead", "vanishing", "saturated")
    changes_network = True
    factor: int = 4

    def applies(self, training: Training) -> str | None:
        found = widths(training.model)
        if not found.outputs:
            return found.reason or say("cures.refused.no_width")
        if (narrowest := min(found.outputs.values())) >= WIDE:
            return say("cures.refused.wide", units=narrowest)
        return frozen_refused(training) or self._refused_by_running(training)

    def _refused_by_running(self, training: Training) -> str | None:
        """A width may stand elsewhere than in the layers, in a reshaping for one."""
        copy = copied(training)
        widen_(copy.model, self.factor)
        try:
            with random_state_kept():
                objective(copy.loss)(copy.model, first_batch(copy))
        except InputError as error:
            return say("cures.refused.widening", reason=error.got)
        return None

    def change(self, training: Training) -> None:
        widen_(training.model, self.factor)
        redraw(training)

    def patch(self, training: Training) -> str:
        found = widths(training.model).outputs
        told = ", ".join(f"{name} {width} → {width * self.factor}" for name, width in found.items())
        return (
            "import undertow as ut\n"
            "from undertow.cures.surgery.widening import widen_\n\n"
            f"# {say('cures.patch.widen', widths=told)}\n"
            f"widen_(model, {self.factor})\n"
            f"{redraw_line(training=training)}\n"
        )
