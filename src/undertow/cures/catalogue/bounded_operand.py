"""Logarithms, roots and quotients kept away from 0."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.cures.cure import CURES
from undertow.cures.surgery.calls import Call
from undertow.cures.surgery.place import bracketed
from undertow.cures.surgery.rewrite import Rewrite
from undertow.cures.surgery.singular import LOGARITHMS, ROOTS, divisor_of, operand_of, singular
from undertow.cures.surgery.source import Edit
from undertow.cures.training import Training
from undertow.foundation import Reference


@CURES.register("bounded_operand", "eps")
@dataclass(frozen=True)
class BoundedOperand(Rewrite):
    """log(max(h, least)), √max(h, least), a / max(h, least): what has no derivative at 0 is not given 0.

    When: a loss or a gradient is NaN or infinite at a logarithm, a root or a quotient of the model's own.
    Why: 1/h and 1/√h are infinite at 0, and 0 · ∞ is NaN; below the bound the derivative is 0 instead.
    Not: a divisor that may be negative; a value that should not have come near 0 at all.

    Source: Goldberg (1991), What every computer scientist should know about floating-point arithmetic; the bound
    10⁻⁷ is the rounding of float32.
    """

    name = "bounded_operand"
    reference = Reference("Goldberg", 1991, "What every computer scientist should know about floating-point arithmetic")
    treats = ("nonfinite",)
    refusal = "no_singular"
    least: float = 1e-7

    def edits(self, training: Training) -> tuple[Edit, ...]:
        found = (edit for call in singular(training) if (edit := self._bounded(call)) is not None)
        return tuple(dict.fromkeys(found))

    def _bounded(self, call: Call) -> Edit | None:
        operand, given = operand_of(call), divisor_of(call)
        if call.place is None or operand is None or given is None:
            return None
        if call.name not in LOGARITHMS | ROOTS and bool((given < 0).any()):
            return None
        text = bracketed(call.place.source(operand), operand)
        return call.place.edit(operand, f"{text}.clamp(min={self.least!r})")
