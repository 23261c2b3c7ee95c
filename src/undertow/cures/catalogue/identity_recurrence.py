"""Plain recurrent layers that begin as the identity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.recurrence import recurrent
from undertow.cures.surgery.remembering import identity_
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("identity_recurrence", "irnn")
@dataclass(frozen=True)
class IdentityRecurrence(Cure):
    """h ← relu(Wx + Uh) with U = 1 and no bias to begin with, in plain recurrent layers.

    When: a plain recurrent layer does not remember over tens of steps, and gated layers are not wanted.
    Why: the state, and its gradient, pass a step as they are until something is written to them.
    Not: long sequences at a large rate: the state of a ReLU is unbounded, so that a U beyond 1 explodes; clip.

    Source: Le, Jaitly and Hinton (2015), arXiv:1504.00941.
    """

    name = "identity_recurrence"
    reference = Reference(
        "Le, Jaitly and Hinton",
        2015,
        "A simple way to initialize recurrent networks of rectified linear units",
        "1504.00941",
    )
    treats = ("vanishing", "exploding", "nonfinite", "unstable_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if _plain(training.model) else say("cures.refused.no_plain_recurrence")

    def change(self, training: Training) -> None:
        identity_(training.model, _plain(training.model))

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.remembering import identity_\n\n"
            f"identity_(model, {_plain(training.model)!r})\n".replace("'", '"')
        )


def _plain(model: nn.Module) -> list[str]:
    return [name for name, layer, _ in recurrent(model) if isinstance(layer, nn.RNN | nn.RNNCell)]
