"""Each unit's gradient clipped to a share of the unit's weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.clipping import adaptive_clip_, clip_refused
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("adaptive_clip", "agc")
@dataclass(frozen=True)
class AdaptiveClip(Cure):
    """g ← g · min(1, factor · max(‖w‖, 10⁻³) / ‖g‖), unit by unit, before each optimizer step.

    When: gradients explode in some layers and not in others, so that no single norm suits them all.
    Why: the gradient of a unit is compared with its own weights, whatever the scale of the loss or of the layer.
    Not: vanishing gradients; Adam and RMSProp, which divide a constant scale out again.

    Source: Brock, De, Smith and Simonyan (2021), arXiv:2102.06171; factor 0.01 is theirs.
    """

    name = "adaptive_clip"
    reference = Reference(
        "Brock, De, Smith and Simonyan",
        2021,
        "High-performance large-scale image recognition without normalization",
        "2102.06171",
    )
    treats = ("exploding", "nonfinite", "unstable_lr")
    factor: float = 0.01

    def applies(self, training: Training) -> str | None:
        return clip_refused(training)

    def change(self, training: Training) -> None:
        training.clip = partial(adaptive_clip_, factor=self.factor)

    def patch(self, training: Training) -> str:
        return (
            "from functools import partial\n\n"
            "from undertow.cures.surgery.clipping import adaptive_clip_\n\n"
            f"# {say('cures.patch.clip')}\n"
            f"clip = partial(adaptive_clip_, factor={self.factor!r})\n"
        )
