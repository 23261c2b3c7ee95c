"""Back-propagation through all the time steps of a hand-written loop."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

from undertow.cures.catalogue.reconnect import CUTS
from undertow.cures.cure import CURES
from undertow.cures.surgery.calls import calls
from undertow.cures.surgery.place import Place, statement_of
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("longer_bptt")
@dataclass(frozen=True)
class LongerBPTT(Rewrite):
    """h in place of h.detach() in a loop over time steps.

    When: what is to be learnt lies further back than the loop hands the gradient on.
    Why: a state that is detached in each step, or every few, takes no gradient further back than that.
    Not: a detach that keeps memory or an exploding gradient at bay; there a gated layer, or clipping, comes first.

    Source: Williams and Peng (1990), An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, Neural computation 2.
    """

    name = "longer_bptt"
    reference = Reference(
        "Williams and Peng",
        1990,
        "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
    )
    treats = ("vanishing", "disconnected")
    refusal = "no_detached_state"

    def edits(self, training: Training) -> tuple[Edit, ...]:
        cuts = [c for c in calls(training) if c.name in CUTS and c.place and any(t.requires_grad for t in c.tensors)]
        times = Counter(call.place for call in cuts)
        places = [place for place, count in times.items() if place and count > 1 and _carries(place)]
        return tuple(_passed(place) for place in places if place.node is not None)


def _carries(place: Place) -> bool:
    """Whether a name in a loop is given what was detached: `h = h.detach()`, and not an estimator's sum."""
    statement = statement_of(place)
    looped = any(isinstance(node, ast.For | ast.While) for node in place.around())
    whole = isinstance(statement, ast.Assign) and statement.value is place.node
    return looped and (whole or isinstance(statement, ast.Expr))


def _passed(place: Place) -> Edit:
    assert place.node is not None
    return place.edit(place.node, "pass" if isinstance(statement_of(place), ast.Expr) else place.passed())
