"""Weights drawn with the gain that the model's own activations need."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.swap import redraw, redraw_line, redraw_refused
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("matched_init", "init", "initialisation")
@dataclass(frozen=True)
class MatchedInit(Cure):
    """Var(w) = gain² / fan_in, the gain computed from each activation by quadrature, not from a table of five.

    When: the ledger charges the change of the backward value to the weights.
    Why: it keeps the size of the forward signal from layer to layer, so that neither it nor the gradient drifts.
    Not: a saturating activation in a very deep network, whose derivative costs the gradient at any scale; and a
    pretrained model, whose weights it throws away.

    Source: He, Zhang, Ren and Sun (2015), arXiv:1502.01852; Glorot and Bengio (2010), AISTATS.
    """

    name = "matched_init"
    reference = Reference("He, Zhang, Ren and Sun", 2015, "Delving deep into rectifiers", "1502.01852")
    treats = ("vanishing", "exploding", "saturated", "dead", "symmetric")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return redraw_refused(training)

    def change(self, training: Training) -> None:
        redraw(training)

    def patch(self, training: Training) -> str:
        return f"import undertow as ut\n\n{redraw_line(training=training)}\n"
