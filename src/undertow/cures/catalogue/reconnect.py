"""A call that cuts the graph, taken out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.cut import cut_calls
from undertow.cures.surgery.place import Place, dedented, statement_of
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.foundation import Reference

CUTS = ("detach", "data")
OFF = ("no_grad", "inference_mode")


@CURES.register("reconnect")
@dataclass(frozen=True)
class Reconnect(Rewrite):
    """h ← h in place of h.detach() or h.data, and a block without its `torch.no_grad()`.

    When: a trained weight never gets a gradient, and the call at which its values leave the graph is known.
    Why: the values pass as before, and the gradient passes with them.
    Not: a stop-gradient that is meant (a target network, a codebook); a graph that ends in NumPy or in `.item()`, or
    in a comparison, which has no derivative to give.

    Source: Paszke et al. (2019), PyTorch, arXiv:1912.01703 (the graph is what was recorded).
    """

    name = "reconnect"
    reference = Reference("Paszke et al.", 2019, "PyTorch: an imperative style, high-performance library", "1912.01703")
    treats = ("disconnected",)
    refusal = "no_cut"

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = (edit for call in cut_calls(training) if call.caller for edit in _mended(call.name, call.caller))
        return tuple(dict.fromkeys(found))


def _mended(name: str, place: Place) -> Iterator[Edit]:
    if name in CUTS and place.operand is not None and place.node is not None:
        alone = isinstance(statement_of(place), ast.Expr)
        yield place.edit(place.node, "pass" if alone else place.passed())
        return
    for outer in place.around():
        if isinstance(outer, ast.With) and len(outer.items) == 1:
            block = outer.items[0].context_expr
            if isinstance(block, ast.Call) and place.source(block.func).rpartition(".")[2] in OFF:
                yield from dedented(place, outer)
                return
