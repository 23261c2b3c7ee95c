"""The learning rate ten times smaller, and ten times larger."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.schedule import rescale
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("learning_rate", "lr")
@dataclass(frozen=True)
class LearningRate(Cure):
    """η ← factor · η in every parameter group.

    When: the loss jumps or diverges (smaller), or hardly moves while the gradients are sound (larger).
    Why: gradient descent on a loss of curvature λ diverges for η > 2/λ, and crawls far below that.
    Not: gradients that differ by orders of magnitude between layers: no single η suits both ends.

    Source: LeCun, Bottou, Orr and Müller (1998), Efficient BackProp; Bengio (2012), arXiv:1206.5533, on trying
    rates on a log scale.  The factor of 10 is common practice, not derived.
    """

    name = "learning_rate"
    reference = Reference(
        "Bengio", 2012, "Practical recommendations for gradient-based training of deep architectures", "1206.5533"
    )
    treats = ("unstable_lr", "too_small_lr", "nonfinite", "exploding")
    label_format = "{name} ×{factor:g}"
    settings = ({"factor": 0.1}, {"factor": 10.0})
    factor: float = 0.1

    def applies(self, training: Training) -> str | None:
        groups = training.optimizer.param_groups
        return None if all("lr" in group for group in groups) else say("cures.refused.no_rate")

    def change(self, training: Training) -> None:
        factors = [self.factor] * len(training.optimizer.param_groups)
        rescale(training.optimizer, training.scheduler, factors)

    def patch(self, training: Training) -> str:
        return f'for group in optimizer.param_groups:\n    group["lr"] *= {self.factor!r}\n'
