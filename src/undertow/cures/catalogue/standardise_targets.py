"""Targets of mean 0 and variance 1."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from undertow.cures.catalogue.standardise import MOST
from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.targets import standardise_targets, target_statistics
from undertow.cures.training import Training, batches_afresh
from undertow.foundation import Reference, say

FAR = 2.0
"""A spread, or a mean in spreads, beyond this factor is not what an output begins with (ours)."""


@CURES.register("standardise_targets", "target_scale", "standardize_targets")
@dataclass(frozen=True)
class StandardiseTargets(Cure):
    """loss(f(x), (y − mean) / std), and mean + std · f(x) as the model's output.

    When: the targets of a regression lie far from 0 or spread far from 1, and the loss jumps or crawls.
    Why: an untrained output is near 0 with a spread near 1; an error of 500 gives a gradient 500 times as large, and
    a learning rate that bears it is too small for everything else.
    Not: targets that are counts with a loss of their own (Poisson); classes and probabilities.

    Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp, section 4.5.
    """

    name = "standardise_targets"
    reference = Reference("LeCun, Bottou, Orr and Müller", 1998, "Efficient BackProp")
    treats = ("exploding", "nonfinite", "unstable_lr", "too_small_lr", "loss_mismatch")

    def applies(self, training: Training) -> str | None:
        units = target_statistics(islice(batches_afresh(training), MOST))
        if units is None:
            return say("cures.refused.no_targets")
        far = (units.mean.abs() > FAR * units.std) | (units.std > FAR) | (units.std < 1 / FAR)
        return None if bool(far.any()) else say("cures.refused.standard_targets")

    def change(self, training: Training) -> None:
        training.loss = standardise_targets(training.model, training.loss, islice(batches_afresh(training), MOST))

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.targets import standardise_targets\n\n"
            f"# {say('cures.patch.targets')}\n"
            f"loss = standardise_targets(model, loss, list(batches)[:{MOST}])\n"
        )
