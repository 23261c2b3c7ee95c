"""Dead units given new weights while the model trains."""

from __future__ import annotations

from dataclasses import dataclass
from pprint import pformat

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.reviving import mortal, revive_
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("revive", "redo")
@dataclass(frozen=True)
class Revive(Cure):
    """w ← N(0, gain²/fan_in), b ← −median(w·x) for each unit that was flat on all samples since the last look.

    When: units are dead, at birth or killed by a step, and the activation is to stay.
    Why: a dead unit has no gradient that could bring it back; with a bias at the median it fires for half of the
    samples again.  The outgoing weights stay: in a layer that died as a whole they alone pass a gradient to it.
    Not: a cause that goes on killing (too high a learning rate), which must go first; activations that are nowhere
    flat.

    Source: Sokar, Agarwal, Castro and Evci (2023), arXiv:2302.12902 (ReDo), there every 1000 steps; the bias after
    Salimans and Kingma (2016), arXiv:1602.07868, section 3.
    """

    name = "revive"
    reference = Reference(
        "Sokar, Agarwal, Castro and Evci",
        2023,
        "The dormant neuron phenomenon in deep reinforcement learning",
        "2302.12902",
    )
    treats = ("dead",)
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if mortal(training) else say("cures.refused.immortal")

    def change(self, training: Training) -> None:
        revive_(training.model, mortal(training), training.optimizer)

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.reviving import revive_\n\n"
            f"# {say('cures.patch.revive')}\n"
            f"revive_(model, {pformat(mortal(training), width=100, compact=True)}, optimizer)\n"
        )
