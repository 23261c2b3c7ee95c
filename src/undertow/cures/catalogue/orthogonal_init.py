"""Orthogonal weights with the gains of the model's own activations."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery.swap import redraw, redraw_line, redraw_refused
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("orthogonal_init", "orthogonal")
@dataclass(frozen=True)
class OrthogonalInit(Cure):
    """WᵀW = gain² · I, the gain computed from each activation by quadrature.

    When: a plain network is tens of layers deep, and the ledger charges the weights.
    Why: every direction of the signal keeps its size, not only the average one, so that hundreds of linear or tanh
    layers pass a gradient.
    Not: ReLU networks, whose derivative mask undoes the isometry after a few layers; and a pretrained model, whose
    weights it throws away.  It often wants a lower learning rate.

    Source: Saxe, McClelland and Ganguli (2013), arXiv:1312.6120; Pennington, Schoenholz and Ganguli (2017),
    arXiv:1711.04735.
    """

    name = "orthogonal_init"
    reference = Reference(
        "Saxe, McClelland and Ganguli",
        2013,
        "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
        "1312.6120",
    )
    treats = ("vanishing", "exploding", "saturated", "symmetric")
    changes_network = True

    def applies(self, training: Training) -> str | None:
        return redraw_refused(training)

    def change(self, training: Training) -> None:
        redraw(training, "orthogonal")

    def patch(self, training: Training) -> str:
        return f"import undertow as ut\n\n{redraw_line('orthogonal', training)}\n"
