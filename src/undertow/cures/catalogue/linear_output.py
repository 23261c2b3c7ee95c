"""No activation on the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from undertow.activations import Pointwise
from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.survey import survey
from undertow.cures.training import Training
from undertow.foundation import Reference, say

FAR = torch.tensor([-2000.0, -1000.0, 1000.0, 2000.0])
"""Far out on both sides, where what is flat has one value."""


@CURES.register("linear_output")
@dataclass(frozen=True)
class LinearOutput(Cure):
    """y = Wx + b at the output, without the rectifier after it.

    When: a ReLU at the end of a regression is 0 for every sample, because the targets lie below 0 or a step went too
    far.
    Why: an output that is cut off can't reach such targets and gets no gradient that would bring it back.
    Not: an output that must not be negative; there softplus keeps the range and has a slope everywhere.

    Source: Goodfellow, Bengio and Courville (2016), Deep learning, section 6.2.2 (linear units for Gaussian outputs).
    """

    name = "linear_output"
    reference = Reference("Goodfellow, Bengio and Courville", 2016, "Deep learning")
    treats = ("dead",)
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if self._place(training) is not None else say("cures.refused.open_output")

    def change(self, training: Training) -> None:
        place = self._place(training)
        assert place is not None
        training.model.set_submodule(place, nn.Identity())

    def patch(self, training: Training) -> str:
        return f"from torch import nn\n\nmodel.set_submodule({self._place(training)!r}, nn.Identity())\n"

    @staticmethod
    def _place(training: Training) -> str | None:
        """The path of an activation at the output that is flat on one side."""
        ends = [c for c in survey(training).calls if c.at_output and isinstance(c.activation, Pointwise)]
        if not ends:
            return None
        left, less, more, right = ends[-1].activation(FAR).tolist()
        return ends[-1].module if left == less and more != right else None
