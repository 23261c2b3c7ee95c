"""GRU in place of plain recurrent layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.recurrence import recurrent
from undertow.cures.training import Training
from undertow.foundation import Reference, say

KEPT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")


@CURES.register("gated_recurrence", "gru")
@dataclass(frozen=True)
class GatedRecurrence(Cure):
    """h ← (1 − z) · n + z · h, with a learnt gate z, in place of h ← f(Wx + Uh).

    When: a task needs to remember over tens of steps, and the gradient of a plain recurrent layer dies on the way.
    Why: where the gate is open the state, and its gradient, pass a step as they are.
    Not: memory and time: three times the weights.

    Source: Cho et al. (2014), arXiv:1406.1078; Hochreiter and Schmidhuber (1997) for the idea.
    """

    name = "gated_recurrence"
    reference = Reference("Cho et al.", 2014, "Learning phrase representations using RNN encoder-decoder", "1406.1078")
    treats = ("vanishing", "exploding", "nonfinite", "unstable_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if _plain(training.model) else say("cures.refused.no_plain_recurrence")

    def change(self, training: Training) -> None:
        for name, layer in _plain(training.model).items():
            new = nn.GRU(**{key: getattr(layer, key) for key in KEPT})
            training.model.set_submodule(name, new.to(next(layer.parameters())).train(layer.training))

    def patch(self, training: Training) -> str:
        lines = ["from torch import nn", ""]
        for name, layer in _plain(training.model).items():
            given = ", ".join(f"{key}={getattr(layer, key)!r}" for key in KEPT)
            lines.append(f"model.set_submodule({name!r}, nn.GRU({given}))")
        return "\n".join(lines) + "\n"


def _plain(model: nn.Module) -> dict[str, nn.RNN]:
    """Those that are no model by themselves, since a model can't be put in its own place."""
    return {name: layer for name, layer, _ in recurrent(model) if isinstance(layer, nn.RNN) and name}
