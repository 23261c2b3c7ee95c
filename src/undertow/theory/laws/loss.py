"""Losses that a model takes of itself: cross-entropy of its own logits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from undertow.theory.attending import shares
from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.signal import Delta, Layout, Pairs, Signal


@law("cross_entropy", "nll_loss")
@dataclass(frozen=True)
class CrossEntropy(Law):
    """L = mean of ln Σ e^z − z_y over C classes and N targets, δz = (softmax(z) − e_y)/N.

    For logits of variance s² that know nothing of y:  E[L] = E[ln Σ e^z] ≈ ln C + s²/2, and
    E[Σ_c δ²] = (E[Σ p²] − 2/C + 1)/N² at a row with a target, 0 at one without.
    """

    classes: int = field(kw_only=True)
    rows: int = field(kw_only=True)
    targets: float = field(kw_only=True)
    """Rows that count, over all."""
    same: float = field(kw_only=True)
    """How often two of those have one target."""
    mean: bool = True

    @classmethod
    def read(cls, call: Call) -> Law | None:
        z, target = call.argument(0, "input"), call.argument(1, "target")
        plain = call.argument(2, "weight") is None and float(call.kwargs.get("label_smoothing", 0.0)) == 0
        reduction = call.kwargs.get("reduction", "mean")
        given = call.given[z.index] if is_signal(z) else ()
        integer = isinstance(target, Tensor) and not target.is_floating_point()
        if call.operation != "cross_entropy" or not plain or not integer or len(given) < 2:
            return None
        if reduction not in ("mean", "sum"):
            return None
        counted = target[target != call.kwargs.get("ignore_index", -100)]
        often = torch.bincount(counted.reshape(-1)).double()
        n = counted.numel()
        same = float((often * (often - 1)).sum()) / (n * (n - 1)) if n > 1 else 0.0
        return cls(
            call.shape,
            classes=given[1],
            rows=target.numel(),
            targets=n / max(target.numel(), 1),
            same=same,
            mean=reduction == "mean",
        )

    def forward(self, *inputs: Signal) -> Signal:
        (z,) = inputs
        loss = math.log(self.classes) + self._variance(z) / 2
        value = torch.tensor([loss * (1 if self.mean else self.rows * self.targets)], dtype=torch.float64)
        return Signal(Layout((), ""), value.square(), value, normal=False)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        (z,) = inputs
        c, counted = self.classes, self.rows * self.targets
        over = float(shares(self._variance(z), torch.tensor([float(c)], dtype=torch.float64)).second)
        part = delta.size * (1 / counted**2 if self.mean and counted else 1.0)
        square = torch.full_like(z.square, part * self.targets * (over - 2 / c + 1) / c)
        common = part * self.targets**2 * (self.same - 1 / c) / c
        return (Delta(square, Pairs(common, common, common)),)

    def _variance(self, z: Signal) -> float:
        return max(float((z.square - z.mean.square()).mean()), 0.0)
