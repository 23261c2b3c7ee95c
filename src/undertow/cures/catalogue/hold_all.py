"""The optimizer holds every trainable parameter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from undertow.cures.cure import CURES, Cure
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("hold_all", "add_param_group")
@dataclass(frozen=True)
class HoldAll(Cure):
    """The optimizer steps every parameter with requires_grad, those that it did not hold in its first group.

    When: a layer was added, replaced or re-created after the optimizer was made, and stays as it was initialised.
    Why: an optimizer steps the tensors that it was given, not those that the model has now.
    Not: layers left out on purpose; freeze these with requires_grad_(False).

    Source: Paszke et al. (2019), PyTorch, arXiv:1912.01703; the documentation of torch.optim.
    """

    name = "hold_all"
    reference = Reference("Paszke et al.", 2019, "PyTorch: an imperative style, high-performance library", "1912.01703")
    treats = ("disconnected",)

    def applies(self, training: Training) -> str | None:
        return None if _left_out(training) else say("cures.refused.held")

    def change(self, training: Training) -> None:
        training.optimizer.param_groups[0]["params"] += _left_out(training)

    def patch(self, training: Training) -> str:
        return (
            'held = {id(p) for group in optimizer.param_groups for p in group["params"]}\n'
            'optimizer.param_groups[0]["params"] += '
            "[p for p in model.parameters() if p.requires_grad and id(p) not in held]\n"
        )


def _left_out(training: Training) -> list[nn.Parameter]:
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    return [p for p in training.model.parameters() if p.requires_grad and id(p) not in held]
