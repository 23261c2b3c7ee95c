"""The gradient's total norm clipped before each step."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.clipping import clip_refused
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("clip_norm", "clip", "gradient_clipping")
@dataclass(frozen=True)
class ClipNorm(Cure):
    """g ← g · min(1, max_norm / ‖g‖), over all parameters together, before each optimizer step.

    When: gradients explode in single steps, and the loss jumps or turns into NaN.
    Why: a step can no longer be longer than the learning rate times max_norm, whatever the gradient.
    Not: vanishing gradients; a network whose forward pass overflows already; Adam and RMSProp, which divide a
    constant scale out again.

    Source: Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063.  The norm 1.0 is common practice, not derived.
    """

    name = "clip_norm"
    reference = Reference(
        "Pascanu, Mikolov and Bengio", 2013, "On the difficulty of training recurrent neural networks", "1211.5063"
    )
    treats = ("exploding", "nonfinite", "unstable_lr")
    max_norm: float = 1.0

    def applies(self, training: Training) -> str | None:
        return clip_refused(training, self.max_norm)

    def change(self, training: Training) -> None:
        training.clip = self.max_norm

    def patch(self, training: Training) -> str:
        return f"# {say('cures.patch.clip_norm')}\nclip = {self.max_norm!r}\n"
