"""Each value of the gradient clipped before each step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.clipping import clip_refused
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("clip_value")
@dataclass(frozen=True)
class ClipValue(Cure):
    """g ← min(max(g, −limit), limit), value by value, before each optimizer step.

    When: single values of the gradient are far out (a rare token, one bad sample) while the others are sound.
    Why: no weight moves by more than the learning rate times the limit, and the sound values keep their size.
    Not: vanishing gradients; gradients that are large everywhere, whose direction it changes: clip the norm.

    Source: Mikolov (2012), Statistical language models based on neural networks, PhD thesis, Brno.  The limit 0.5 is
    common practice, not derived.
    """

    name = "clip_value"
    reference = Reference("Mikolov", 2012, "Statistical language models based on neural networks")
    treats = ("exploding", "nonfinite", "unstable_lr")
    limit: float = 0.5

    def applies(self, training: Training) -> str | None:
        return clip_refused(training)

    def change(self, training: Training) -> None:
        training.clip = partial(nn.utils.clip_grad_value_, clip_value=self.limit)

    def patch(self, training: Training) -> str:
        return (
            "from functools import partial\n\n"
            "from torch import nn\n\n"
            f"# {say('cures.patch.clip')}\n"
            f"clip = partial(nn.utils.clip_grad_value_, clip_value={self.limit!r})\n"
        )
