"""Dropout and its kin."""

from __future__ import annotations

from dataclasses import dataclass, replace

from undertow.theory.laws.base import Call, Law, law
from undertow.theory.signal import Delta, Signal


@law("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout")
@dataclass(frozen=True)
class Dropout(Law):
    """y = x · Bernoulli(1 − p)/(1 − p):  both sizes grow by 1/(1 − p).

    Srivastava et al. (2014), JMLR 15.
    """

    p: float = 0.0

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if call.operation == "alpha_dropout":
            return None
        training = call.argument(2, "training", True)
        p = float(call.argument(1, "p", 0.5)) if training else 0.0
        return cls(call.shape, p) if p < 1 else None

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        return replace(x, square=x.square / (1 - self.p))  # products of two places keep theirs

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return (replace(delta, square=delta.square / (1 - self.p)),)
