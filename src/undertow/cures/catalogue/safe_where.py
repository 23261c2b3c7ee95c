"""A `where` around what it is to protect, and another one inside."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.calls import Call
from undertow.cures.surgery.place import Place
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.singular import operand_of, singular
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("safe_where")
@dataclass(frozen=True)
class SafeWhere(Rewrite):
    """where(c, log(where(c, h, 1)), 0) in place of where(c, log(h), 0), and so for roots and quotients.

    When: the forward pass is finite and a gradient is NaN, behind a `where` that picks the defined values.
    Why: the branch that is not picked is given a derivative of 0 · ∞ = NaN; with 1 in its place it is 0 · 1 = 0.
    Not: values that the condition lets through and that have no derivative themselves; there `bounded_operand` helps.

    Source: PyTorch issue 4132 and the JAX documentation (2018), frequently asked questions, gradients contain NaN
    where using where.
    """

    name = "safe_where"
    reference = Reference(
        "JAX documentation", 2018, "Frequently asked questions: gradients contain NaN where using where"
    )
    treats = ("nonfinite",)
    refusal = "no_where"

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = (edit for call in singular(training) if (edit := _protected(call)) is not None)
        return tuple(dict.fromkeys(found))


def _protected(call: Call) -> Edit | None:
    place, operand = call.place, operand_of(call)
    where = place.torch("where") if place else ""
    if place is None or operand is None or not where:
        return None
    if not (condition := _condition(place)):
        return None
    return place.edit(operand, f"{where}({condition}, {place.source(operand)}, 1.0)")


def _condition(place: Place) -> str:
    """When the nearest `where` around picks the expression; empty where none does."""
    inner = place.node
    for outer in place.around():
        if isinstance(outer, ast.Call) and place.source(outer.func).rpartition(".")[2] == "where":
            method = isinstance(outer.func, ast.Attribute) and outer.func.value is place.operand
            if method or len(outer.args) != 3 or inner not in outer.args[1:]:
                return ""
            condition = place.source(outer.args[0])
            return condition if inner is outer.args[1] else f"~({condition})"
        if isinstance(outer, ast.stmt):
            break
        inner = outer if isinstance(outer, ast.expr) else inner
    return ""
