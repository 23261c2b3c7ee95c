"""No activation on the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from undertow.activations import Activation, Pointwise
from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.functional import output_function
from undertow.cures.surgery.source import Edit, edits_patch
from undertow.cures.surgery.survey import survey
from undertow.cures.training import Training, first_batch
from undertow.foundation import Reference, say

FAR = torch.tensor([-2000.0, -1000.0, 1000.0, 2000.0])
"""Far out on both sides, where what is flat has one value."""


@CURES.register("linear_output")
@dataclass(frozen=True)
class LinearOutput(Cure):
    """y = Wx + b at the output, without the activation after it.

    When: a ReLU at the end of a regression is 0 for every sample, because the targets lie below 0 or a step went too
    far; or the targets lie beyond the range of a sigmoid or a tanh.
    Why: an output that is cut off can't reach such targets and gets no gradient that would bring it back.
    Not: an output that must not be negative; there softplus keeps the range and has a slope everywhere.

    Source: Goodfellow, Bengio and Courville (2016), Deep learning, section 6.2.2 (linear units for Gaussian outputs).
    """

    name = "linear_output"
    reference = Reference("Goodfellow, Bengio and Courville", 2016, "Deep learning")
    treats = ("dead", "loss_mismatch")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        found = self._place(training) is not None or self.edits(training)
        return None if found else say("cures.refused.open_output")

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = None if self._place(training) else output_function(training)
        if found is None or found[0].node is None or not _cuts_off(found[1], training):
            return ()
        return (found[0].edit(found[0].node, found[0].passed()),)

    def change(self, training: Training) -> None:
        if (place := self._place(training)) is not None:
            training.model.set_submodule(place, nn.Identity())

    def patch(self, training: Training) -> str:
        if edits := self.edits(training):
            return edits_patch(edits)
        return f'from torch import nn\n\nmodel.set_submodule("{self._place(training)}", nn.Identity())\n'

    @staticmethod
    def _place(training: Training) -> str | None:
        """The path of an activation at the output that cuts it off."""
        ends = [c for c in survey(training).calls if c.at_output and isinstance(c.activation, Pointwise)]
        return ends[-1].module if ends and _cuts_off(ends[-1].activation, training) else None


def _cuts_off(activation: Activation, training: Training) -> bool:
    """Whether it is flat on one side, or on both with targets beyond."""
    left, less, more, right = activation(FAR).tolist()
    if left != less or more != right:
        return left == less
    batch = first_batch(training)
    target = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
    if not isinstance(target, Tensor) or not target.is_floating_point():
        return False
    return bool(((target < left) | (target > right)).any())
