"""Queries and keys of length 1."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pprint import pformat

from undertow.cures.cure import CURES, Cure
from undertow.cures.surgery import qk_norm
from undertow.cures.surgery.attending import Attending, attending, fused, number, packed, unit
from undertow.cures.surgery.calls import Call
from undertow.cures.surgery.source import Edit, edits_patch
from undertow.cures.training import Training
from undertow.foundation import Reference, say


@CURES.register("qk_norm")
@dataclass(frozen=True)
class QKNorm(Cure):
    """softmax(√d · q̂ k̂ᵀ) v with q̂ = q/‖q‖ and k̂ = k/‖k‖ along the d features of a head.

    When: the logits of an attention are large, so that its softmax is closed, or grow while training.
    Why: a logit is the cosine of an angle times √d, whatever the weights and the input.
    Not: attention that has to be sharper than e^√d : 1; there a learnt factor takes the place of √d.

    Source: Henry, Dachapally, Pawar and Chen (2020), arXiv:2010.04245; Dehghani et al. (2023), arXiv:2302.05442.
    """

    name = "qk_norm"
    reference = Reference(
        "Henry, Dachapally, Pawar and Chen", 2020, "Query-key normalization for transformers", "2010.04245"
    )
    treats = ("saturated", "exploding")
    changes_network = True

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = [edit for one in attending(training) for edit in _written_out(one)]
        return (*found, *(edit for call in fused(training) for edit in _fused(call)))

    def applies(self, training: Training) -> str | None:
        return None if packed(training.model) or self.edits(training) else say("cures.refused.no_attention")

    def change(self, training: Training) -> None:
        qk_norm.normalise_attention(training.model, list(packed(training.model)))

    def patch(self, training: Training) -> str:
        comments, names = edits_patch(self.edits(training)), list(packed(training.model))
        if not names:
            return comments
        source = inspect.getsource(qk_norm).partition("from __future__ import annotations")[2].strip()
        return f"{comments}{source}\n\n\nnormalise_attention(model, {pformat(names, width=100, compact=True)})\n"


def _written_out(found: Attending) -> Iterator[Edit]:
    place, operands = found.place, found.operands()
    if operands is None or place.node is None or not found.factor:
        return
    query, key = unit(place, operands[0], -1), unit(place, operands[1], -2)
    if query and key:
        scale = number(math.sqrt(found.size) / found.factor)
        yield place.edit(place.node, found.written(f"{query} @ {key} * {scale}"))


def _fused(call: Call) -> Iterator[Edit]:
    place = call.place
    if place is None or not isinstance(place.node, ast.Call) or len(place.node.args) < 2:
        return
    root = number(math.sqrt(call.tensors[0].shape[-1]))
    for operand in place.node.args[:2]:
        if text := unit(place, operand, -1):
            yield place.edit(operand, f"{text} * {root}")
