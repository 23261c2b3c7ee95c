"""Skip connections around the layers that keep the shape."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pprint import pformat

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery import skips
from undertow.cures.surgery.residual import blocks
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("residual", "skip")
@dataclass(frozen=True)
class Residual(Cure):
    """y = x + f(Wx + b) / √L around each of the L hidden layers that keep the shape.

    When: a chain is tens of layers deep, and whatever its weights the gradient dies or grows on its way.
    Why: the sum hands the backward value on as it is, and with the factor 1/√L the signal of all L branches together
    stays of the size of one.
    Not: layers that change the width; and a saturated or dead first layer, which stays so.

    Source: He, Zhang, Ren and Sun (2015), arXiv:1512.03385; the factor from Hayou et al. (2021), Stable ResNet,
    arXiv:2010.12859.
    """

    name = "residual"
    reference = Reference("He, Zhang, Ren and Sun", 2015, "Deep residual learning for image recognition", "1512.03385")
    treats = ("vanishing", "exploding", "dead")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return None if blocks(training.model) else say("cures.refused.no_blocks")

    def change(self, training: Training) -> None:
        skips.add_skips(training.model, blocks(training.model))

    def patch(self, training: Training) -> str:
        source = inspect.getsource(skips).partition("from __future__ import annotations")[2].strip()
        return f"{source}\n\n\nadd_skips(model, {pformat(blocks(training.model), width=100, compact=True)})\n"
