"""The learning rate raised from near zero over the first steps."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim.lr_scheduler import LinearLR

from undertow.cures.cure import CURES, Cure
from undertow.cures.training import Training, length
from undertow.foundation import Reference, say


@CURES.register("warm_up")
@dataclass(frozen=True)
class WarmUp(Cure):
    """η_t = η · (t + 1) / T for the first T = share · steps steps, then η.

    When: the loss jumps in the first steps and the rate is right afterwards: large batches, post-norm transformers,
    Adam, whose first steps have the length of η whatever the gradient.
    Why: the curvature is largest, and Adam's averages are poorest, at the start; in the first short steps the weights
    move to where the loss is flatter and bears the full rate.
    Not: a rate that is too high throughout, which warm-up only puts off; and a short run, which pays for it.

    Source: Goyal et al. (2017), arXiv:1706.02677; Gilmer et al. (2021), arXiv:2110.04369, on why.  A tenth of the
    steps is common practice, not derived.
    """

    name = "warm_up"
    reference = Reference("Goyal et al.", 2017, "Accurate, large minibatch SGD", "1706.02677")
    treats = ("unstable_lr", "exploding", "nonfinite", "dead")
    share: float = 0.1

    def applies(self, training: Training) -> str | None:
        if training.scheduler is not None:
            return say("cures.refused.scheduled", scheduler=type(training.scheduler).__name__)
        if not all("lr" in group for group in training.optimizer.param_groups):
            return say("cures.refused.no_rate")
        return None if self._steps(training) > 1 else say("cures.refused.short", steps=length(training))

    def change(self, training: Training) -> None:
        steps = self._steps(training)
        training.scheduler = LinearLR(training.optimizer, start_factor=1 / steps, total_iters=steps - 1)

    def patch(self, training: Training) -> str:
        steps = self._steps(training)
        return (
            "from torch.optim.lr_scheduler import LinearLR\n\n"
            f"# {say('cures.patch.scheduler')}\n"
            f"scheduler = LinearLR(optimizer, start_factor=1 / {steps}, total_iters={steps - 1})\n"
        )

    def _steps(self, training: Training) -> int:
        return round(self.share * length(training))
