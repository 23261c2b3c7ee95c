"""Logits of an attention divided by the root of the head's size."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.attending import Attending, attending
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("scaled_attention")
@dataclass(frozen=True)
class ScaledAttention(Rewrite):
    """softmax(q kᵀ / √d) in place of softmax(q kᵀ), d the number of features of a query.

    When: an attention that is written out looks at one key alone from the start, and nothing scales its logits.
    Why: a product of two vectors of d numbers of variance 1 has variance d; at a logit of 8 the softmax is closed,
    and its derivative with it.
    Not: logits that are scaled already, or large because the weights are; there normalised queries and keys help.

    Source: Vaswani et al. (2017), arXiv:1706.03762, section 3.2.1.
    """

    name = "scaled_attention"
    reference = Reference("Vaswani et al.", 2017, "Attention is all you need", "1706.03762")
    treats = ("saturated",)
    refusal = "scaled_already"

    def edits(self, training: Training) -> tuple[Edit, ...]:
        return tuple(_scaled(found) for found in attending(training) if not found.scaled)


def _scaled(found: Attending) -> Edit:
    place, operands = found.place, found.operands()
    assert place.node is not None
    query = operands[0] if operands else None
    size = f"{place.source(query)}.shape[-1]" if isinstance(query, ast.Name) else str(found.size)
    return place.edit(place.node, found.written(f"{found.text()} / {size} ** 0.5"))
