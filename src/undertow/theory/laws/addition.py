"""Sums of signals: residual connections, position embeddings, biases by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from undertow.theory.attending import Attends, narrower
from undertow.theory.laws.base import Call, Law, is_signal, law, mean_square
from undertow.theory.laws.gated import gated, mixed
from undertow.theory.signal import ALIKE, Delta, Pairs, Signal


@law("add", "radd", "iadd", "sub", "rsub", "isub")
@dataclass(frozen=True)
class Add(Law):
    """y = x1 + x2, with weights of its own in each:  E[y²] = E[x1²] + E[x2²] + 2 E[x1] E[x2];  δ goes to both."""

    constant: float = 0.0
    """E[c²] of a constant that is added."""
    effect = "branching"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        one, other = call.argument(0, "input"), call.argument(1, "other")
        constants = [c for c in (one, other) if not is_signal(c)]
        if "alpha" in call.kwargs or any(not isinstance(c, int | float | Tensor) for c in constants):
            return None
        return cls(call.shape, sum(map(_square, constants)))

    def forward(self, *inputs: Signal) -> Signal:
        x = max(inputs, key=lambda s: len(s.layout.shape))
        square, mean, pairs = x.square * 0 + self.constant, x.mean * 0, ALIKE.times(self.constant)
        for other in inputs:
            share, middle = _over(other.square, square), _over(other.mean, square)
            square = square + share + 2 * mean * middle
            mean = mean + middle
            pairs = pairs.plus(_repeated(other, self.shape))
        total = float(square.mean())
        spread = sum(s.spread * (s.size / total) ** 2 for s in inputs) if total else 0.0
        return replace(
            x,
            layout=x.layout.of(self.shape),
            square=square,
            mean=mean,
            pairs=Pairs(*pairs),
            normal=any(s.normal for s in inputs),
            places=0,
            spread=spread,
            attends=_attends(x, inputs),
            mixed=None if self.constant else mixed(inputs, square),
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return tuple(_handed_back(gated(delta, i, inputs), x, self.shape) for i, x in enumerate(inputs))


@law("mul", "rmul", "imul", "div", "truediv", "itruediv", "neg")
@dataclass(frozen=True)
class Scale(Law):
    """y = c x for a number or a learnt scale c:  both sizes change by E[c²]."""

    factor: float = 1.0
    """E[c²]"""
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        if call.operation == "neg":
            return cls(call.shape)
        one, other = call.argument(0, "input"), call.argument(1, "other")
        if is_signal(one) and is_signal(other):
            return None
        divides = call.operation.endswith(("div", "truediv"))
        if divides and not is_signal(one):
            return None
        c = other if is_signal(one) else one
        if not isinstance(c, int | float | Tensor):
            return None
        c = torch.as_tensor(c, dtype=torch.float64) if not isinstance(c, Tensor) else c.detach().double()
        return cls(call.shape, mean_square(1 / c if divides else c))

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        return replace(x.scaled(self.factor), layout=x.layout.of(self.shape))

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        return (delta.scaled(self.factor),)


def _square(c: Any) -> float:
    return mean_square(c) if isinstance(c, Tensor) else float(c) ** 2


def _over(moments: Tensor, like: Tensor) -> Tensor:
    """The mean where a term's map has other positions or groups: a bias of scores by the places of their keys."""
    if moments.ndim != like.ndim:
        return moments.mean().reshape([1] * like.ndim)
    return moments if moments.shape[0] in (1, like.shape[0]) or like.shape[0] == 1 else moments.mean(0, keepdim=True)


def _attends(x: Signal, terms: tuple[Signal, ...]) -> Attends | None:
    """Scores keep the masks of all that is added to them."""
    found = x.attends
    for other in terms:
        if other.attends is not None:
            of_scores = found or other.attends
            found = of_scores._replace(reach=narrower(of_scores.reach, other.attends.reach))
    return found


def _repeated(x: Signal, shape: tuple[int, ...]) -> Pairs:
    """Pairs of a term that is the same for all samples, or all positions, of a sum of this shape."""
    if len(x.layout.shape) == len(shape) and x.layout.shape != shape:
        wider = {r for n, m, r in zip(x.layout.shape, shape, x.layout.roles, strict=True) if n < m}
        square = x.size
        if "S" in wider and "P" not in wider:
            return Pairs(square, x.pairs.positions, x.pairs.positions)
        if "P" in wider and "S" not in wider:
            return Pairs(x.pairs.samples, square, x.pairs.samples)
    return x.pairs


def _handed_back(delta: Delta, x: Signal, shape: tuple[int, ...]) -> Delta:
    """To a term that is repeated over samples or positions, the sum of what all of them get."""
    if x.layout.shape == shape:
        return delta
    square, places = delta.square, math.prod(shape) / max(math.prod(x.layout.shape), 1)
    if x.square.ndim == square.ndim:
        dims = tuple(i for i, (n, m) in enumerate(zip(x.square.shape, square.shape, strict=True)) if n < m)
        square = square.mean(dims, keepdim=True) if dims else square
    else:
        square = square.mean().expand_as(x.square)
    samples = len(x.layout.shape) == len(shape) and x.layout.shape[:1] != shape[:1]
    common = delta.pairs.samples if samples else delta.pairs.positions
    pairs = Pairs(0.0, places * (delta.pairs.positions + (places - 1) * delta.pairs.both) if samples else 0.0, 0.0)
    return Delta(places * (square + (places - 1) * common), pairs, delta.spread, attends=delta.attends)
