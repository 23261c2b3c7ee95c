"""FReLU instead of the hidden activations of a convolutional network."""

from __future__ import annotations

from dataclasses import dataclass
from pprint import pformat

from torch import nn

from undertow.activations import activation
from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.normalise import placing
from undertow.cures.surgery.survey import survey
from undertow.cures.surgery.swap import frozen_refused, redraw, redraw_line
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("frelu", "funnel")
@dataclass(frozen=True)
class FReLU(Cure):
    """f(x) = max(x, BN(w ∗ x)) with a 3×3 window w for each channel, after every 2d convolution, with weights for it.

    When: units of a convolutional network are dead or its activations take the gradient, and some more weights and
    time are no matter.
    Why: one of the two operands of the maximum always passes the gradient, so that no unit can die; and the window
    lets a pixel be judged by its neighbours.
    Not: anything but images; batches of a few samples, since it holds a BatchNorm.

    Source: Ma, Zhang and Sun (2020), arXiv:2007.11824.
    """

    name = "frelu"
    reference = Reference("Ma, Zhang and Sun", 2020, "Funnel activation for visual recognition", "2007.11824")
    treats = ("vanishing", "saturated", "dead")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return frozen_refused(training) or (None if _places(training) else say("cures.refused.no_images"))

    def change(self, training: Training) -> None:
        like = next(training.model.parameters())
        for name, channels in _places(training).items():
            layer = activation("frelu").layer(channels=channels).to(like)
            training.model.set_submodule(name, layer.train(training.model.training))
        redraw(training)

    def patch(self, training: Training) -> str:
        return (
            "import undertow as ut\n\n"
            f"for name, channels in {pformat(_places(training), width=100, compact=True)}.items():\n"
            f'    model.set_submodule(name, ut.activation("frelu").layer(channels=channels){placing(training)})\n'
            f"{redraw_line(training=training)}\n"
        )


def _places(training: Training) -> dict[str, int]:
    """The hidden activations that get images, with the number of their channels."""
    found = survey(training)
    return {
        name: call.shape[1]
        for name, call in found.hidden().items()
        if len(call.shape) == 4 and found.times(name) == 1 and call.producer not in (None, nn.Linear)
    }
