"""The gradient's norm clipped where it is far out of its own recent range."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.clipping import SpikeClip, clip_refused
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("z_clip", "zclip")
@dataclass(frozen=True)
class ZClip(Cure):
    """‖g‖ ← μ + (z²/z_t) · σ where z_t = (‖g‖ − μ) / σ exceeds z; μ and σ are running moments of ‖g‖.

    When: training goes well until single steps have gradients far above all before them, and the loss jumps there.
    Why: the limit follows the run, so that it needs no norm to be chosen and serves early, large gradients and late,
    small ones alike.
    Not: gradients that are too large from the first step on, which are its normal; vanishing gradients.

    Source: Kumar, Owen, Chowdhury and Güra (2025), arXiv:2504.02507; z = 2.5, the decay 0.97 and 25 steps before the
    first clipping are theirs.
    """

    name = "z_clip"
    reference = Reference(
        "Kumar, Owen, Chowdhury and Güra", 2025, "ZClip: adaptive spike mitigation for LLM pre-training", "2504.02507"
    )
    treats = ("exploding", "nonfinite", "unstable_lr")
    z: float = 2.5

    def applies(self, training: Training) -> str | None:
        return clip_refused(training)

    def change(self, training: Training) -> None:
        training.clip = SpikeClip(self.z)

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.clipping import SpikeClip\n\n"
            f"# {say('cures.patch.clip')}\n"
            f"clip = SpikeClip(z={self.z!r})\n"
        )
