"""Inputs of mean 0 and variance 1."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.standard import standardise_
from undertow.cures.training import Training, batches_afresh, first_batch
from undertow.foundation import Reference, say

MOST = 50
"""Batches whose statistics are taken: of thousands of samples a mean is known well enough."""


@CURES.register("standardise", "input_scale", "standardize")
@dataclass(frozen=True)
class Standardise(Cure):
    """x ← (x − mean) / std, feature by feature, with the statistics of the training data.

    When: features are in the hundreds, or differ by orders of magnitude, or hold missing values.
    Why: the first layer gets inputs of the size that its initial weights are made for, so it starts where its
    activation is steep, and one learning rate suits all features.  What is missing, or never varies, becomes 0.
    Not: inputs that are standardised already, tokens, and pixels whose common brightness matters.

    Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp, section 4.3.
    """

    name = "standardise"
    reference = Reference("LeCun, Bottou, Orr and Müller", 1998, "Efficient BackProp")
    treats = ("saturated", "nonfinite", "unstable_lr", "exploding", "too_small_lr")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        batch = first_batch(training)
        x = batch[0] if isinstance(batch, tuple | list) else batch
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2:
            return say("cures.refused.no_features")
        return None

    def change(self, training: Training) -> None:
        standardise_(training.model, islice(batches_afresh(training), MOST))

    def patch(self, training: Training) -> str:
        return (
            "from undertow.cures.surgery.standard import standardise_\n\n"
            f"# {say('cures.patch.standardise')}\n"
            f"standardise_(model, list(batches{'()' * callable(training.batches)})[:{MOST}])\n"
        )
