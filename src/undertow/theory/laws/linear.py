"""Affine maps of the units: torch's linear, addmm, and matmul with a weight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from undertow.theory.laws.base import Call, Law, is_signal, law, level, mean_square
from undertow.theory.laws.rows import alike, unevenness
from undertow.theory.signal import ALIKE, Delta, Pairs, Signal


@law("linear", "matmul", "mm", "addmm")
@dataclass(frozen=True)
class Linear(Law):
    """y = W x + b:  E[y²] = n_in E[w²] E[x²] + E[b²],  E[δx²] = n_out E[w²] E[δy²].

    He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Poole et al. (2016), arXiv:1606.05340.
    """

    fan_in: int
    fan_out: int
    weight: float
    """E[w²]"""
    bias: float = 0.0
    """E[b²]"""
    alike: frozenset[str] = frozenset()
    """As `rows.alike`."""
    unevenness: float = 1.0
    """As `rows.unevenness`."""
    level: float = 0.0
    """E[b], as `level`."""
    effect = "weights"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if call.operation == "linear":
            x, weight, bias = call.argument(0, "input"), call.argument(1, "weight"), call.argument(2, "bias")
        elif call.operation == "addmm":
            bias, x, weight = call.argument(0, "input"), call.argument(1, "mat1"), call.argument(2, "mat2")
        else:
            bias, x, weight = None, call.argument(0, "input"), call.argument(1, "other")
        if not is_signal(x) or not isinstance(weight, Tensor) or weight.ndim != 2 or is_signal(bias):
            return None
        rows = weight if call.operation == "linear" else weight.T  # (out, in)
        same = alike(rows, bias if isinstance(bias, Tensor) else None)
        fans, sizes = (call.given[x.index][-1], call.shape[-1]), (mean_square(weight), mean_square(bias))
        return cls(call.shape, *fans, *sizes, same, unevenness(rows), level(bias))

    @property
    def forward_factor(self) -> float:
        return self.fan_in * self.weight

    @property
    def backward_factor(self) -> float:
        return self.fan_out * self.weight

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        square = x.square * self.forward_factor + self.bias
        pairs = x.pairs.times(self.forward_factor).plus(ALIKE.times(self.bias))
        return replace(
            x,
            layout=x.layout.of(self.shape),
            square=square,
            mean=torch.full_like(square, self.level),
            pairs=Pairs(*pairs),
            normal=True,
            places=0,
            spread=x.spread + 2 / self.fan_out,
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return (delta.scaled(self.backward_factor, spread=2 / self.fan_in),)
