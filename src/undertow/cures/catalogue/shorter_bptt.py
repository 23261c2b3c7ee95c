"""Back-propagation through fewer time steps."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.remembering import stretch_, stretches
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("shorter_bptt", "truncated_bptt")
@dataclass(frozen=True)
class ShorterBPTT(Cure):
    """The state goes on from stretch to stretch of the sequence, its gradient does not.

    When: the gradient of a recurrent layer grows from time step to time step, and what is to be learnt lies near.
    Why: a factor of g a step makes gᵀ of T steps and the fourth root of it of a quarter of them.
    Not: anything that lies further back than a stretch, which can then no longer be learnt.

    Source: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, Neural computation 2.  A quarter of the sequence is ours.
    """

    name = "shorter_bptt"
    reference = Reference(
        "Williams and Peng",
        1990,
        "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
    )
    treats = ("exploding", "nonfinite")
    changes_network = True
    parts: int = 4

    def applies(self, training: Training) -> str | None:
        return None if stretches(training, self.parts) else say("cures.refused.no_stretch", parts=self.parts)

    def change(self, training: Training) -> None:
        stretch_(training.model, stretches(training, self.parts))

    def patch(self, training: Training) -> str:
        steps = repr(stretches(training, self.parts)).replace("'", '"')
        return (
            "from undertow.cures.surgery.remembering import stretch_\n\n"
            f"# {say('cures.patch.stretch')}\nstretch_(model, {steps})\n"
        )
