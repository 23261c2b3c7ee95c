"""What the model is given: its input, and the embedding of real tokens, measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from undertow.theory.laws.base import Call, Law
from undertow.theory.signal import Delta, Signal


@dataclass(frozen=True)
class Given(Law):
    """A tensor whose moments were measured."""

    signal: Signal = field(kw_only=True)

    @classmethod
    def read(cls, call: Call) -> Law | None:
        return None

    def forward(self, *inputs: Signal) -> Signal:
        return self.signal

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return ()


@dataclass(frozen=True)
class Embedding(Given):
    """Rows of a table, by real tokens: measured as they are."""

    effect = "weights"
