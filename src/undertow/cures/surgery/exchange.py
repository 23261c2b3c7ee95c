"""Another optimizer over the same parameter groups."""

from __future__ import annotations

from typing import ClassVar

import torch

from undertow.cures.cure import Cure
from undertow.cures.schedule import IN_GROUPS, base_rates, hand_over, parts, rescale
from undertow.cures.training import Training
from undertow.foundation import say

ADAPTIVE = {"Adam", "AdamW", "RMSprop", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "Adafactor", "SparseAdam"}
"""Optimizers of torch that divide each step by the gradient's own size already."""


class Exchange(Cure):
    """Another optimizer over the same parameter groups: a subclass has a field `lr` and names its `optimizer`."""

    optimizer: ClassVar[type[torch.optim.Optimizer]]
    lr: float
    decay: float = 0
    """Weight decay of the groups that have none."""

    def applies(self, training: Training) -> str | None:
        return exchange_refused(training)

    def change(self, training: Training) -> None:
        exchange_optimizer(training, self.optimizer, self.lr, self.decay)

    def patch(self, training: Training) -> str:
        return exchange_patch(training, f"torch.optim.{self.optimizer.__name__}", self.lr, self.decay)


def exchange_refused(training: Training) -> str | None:
    name = type(training.optimizer).__name__
    if name in ADAPTIVE:
        return say("cures.refused.adaptive", optimizer=name)
    if any(getattr(part, "cycle_momentum", False) for part in parts(training.scheduler)):
        return say("cures.refused.cycles", scheduler=type(training.scheduler).__name__)
    return None


def exchange_optimizer(training: Training, kind: type[torch.optim.Optimizer], lr: float, decay: float = 0) -> None:
    """The new optimizer over the same groups: each keeps its weight decay and its learning rate relative to the first.

    Momentum and the like are not carried over: they mean something else, or nothing, in the new one.
    """
    scales = _relative_rates(training)
    groups = [
        {
            "params": group["params"],
            "weight_decay": group.get("weight_decay", 0) or decay,
            **({key: float(group[key]) for key in IN_GROUPS if key in group} if rate else {}),
        }
        for group, rate in zip(training.optimizer.param_groups, base_rates(training.optimizer), strict=True)
    ]
    training.optimizer = new = kind(groups, lr=lr)  # pyright: ignore[reportCallIssue]
    hand_over(training.scheduler, new)
    rescale(new, training.scheduler, [lr * s / rate for s, rate in zip(scales, base_rates(new), strict=True)])


def exchange_patch(training: Training, kind: str, lr: float, decay: float = 0) -> str:
    """The line that makes the new optimizer; over several groups, the list of them."""
    groups, scales = training.optimizer.param_groups, _relative_rates(training)
    decays = [group.get("weight_decay", 0) or decay for group in groups]
    whole = {id(p) for p in groups[0]["params"]} == {id(p) for p in training.model.parameters()}
    if len(groups) == 1 and whole:
        decays_by = f", weight_decay={decays[0]!r}" if decays[0] else ""
        return f"import torch\n\noptimizer = {kind}(model.parameters(), lr={lr!r}{decays_by})\n"
    settings = [
        f'    {{"params": optimizer.param_groups[{i}]["params"], "lr": {lr * scale!r}, "weight_decay": {decay!r}}},'
        for i, (scale, decay) in enumerate(zip(scales, decays, strict=True))
    ]
    return "\n".join(["import torch", "", f"optimizer = {kind}([", *settings, "])"]) + "\n"


def _relative_rates(training: Training) -> list[float]:
    rates = base_rates(training.optimizer)
    return [rate / rates[0] if rates[0] else 1.0 for rate in rates]
