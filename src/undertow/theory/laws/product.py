"""Products of two signals: gates, gated linear units, squeeze and excitation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from undertow.activations.functions.sigmoidal import Sigmoid
from undertow.theory.laws.activation import Activate
from undertow.theory.laws.base import Call, Law, is_signal, law
from undertow.theory.signal import Delta, Layout, Pairs, Signal

SIGMOID = Sigmoid()


@law("mul", "multiply", "imul", "rmul")
@dataclass(frozen=True)
class Product(Law):
    """y = x1 · x2 with weights of its own in each:  E[y²] = E[x1²] E[x2²],  E[δ1²] = E[δ²] E[x2²], E[δ2²] alike.

    A factor that is spread over positions (or units) gets back the sum over them.
    """

    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        both = is_signal(call.argument(0, "input")) and is_signal(call.argument(1, "other"))
        return cls(call.shape) if both and len(call.given) == 2 else None

    def forward(self, *inputs: Signal) -> Signal:
        one, other = inputs
        large = max(inputs, key=lambda s: math.prod(s.layout.shape))
        return replace(
            large,
            layout=Layout(self.shape, large.layout.roles),
            square=one.square * other.square,
            mean=one.mean * other.mean,
            pairs=Pairs(*(a * b for a, b in zip(one.pairs, other.pairs, strict=True))),
            normal=False,
            places=0,
            spread=one.spread + other.spread,
        )

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        one, other = inputs
        return self._back(delta, one, other), self._back(delta, other, one)

    def _back(self, delta: Delta, to: Signal, by: Signal) -> Delta:
        square = delta.square * by.square
        times = math.prod(self.shape) / math.prod(to.layout.shape)
        pairs = Pairs(*(a * b for a, b in zip(delta.pairs, by.pairs, strict=True)))
        return replace(delta, square=_fitted(square, to) * times, pairs=pairs, spread=delta.spread, lean=None)


@law("glu")
@dataclass(frozen=True)
class Halves(Law):
    """y = a · σ(b) of the two halves of x:  E[y²] = E[x²] E[σ(x)²].  Dauphin et al. (2017), arXiv:1612.08083."""

    effect = "activation"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        return cls(call.shape)

    def _gate(self, x: Signal) -> tuple[Activate, Signal]:
        gate = Activate(self.shape, activation=SIGMOID)
        return gate, gate.forward(x)

    def forward(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        _, gate = self._gate(x)
        pairs = Pairs(*(a * b for a, b in zip(x.pairs, gate.pairs, strict=True)))
        layout = Layout(self.shape, x.layout.roles)
        return replace(gate, layout=layout, square=x.square * gate.square, mean=x.mean * gate.mean, pairs=pairs)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        """Half of the units get δ σ(b), half δ a σ′(b)."""
        (x,) = inputs
        law, gate = self._gate(x)
        (slope,) = law.backward(replace(delta, square=delta.square * x.square), gate, x)
        assert slope is not None
        square = (delta.square * gate.square + slope.square) / 2
        return (Delta(square, spread=slope.spread),)


def _fitted(square: Tensor, to: Signal) -> Tensor:
    """The mean over positions where the factor has none of its own."""
    dims = tuple(i for i, n in enumerate(to.square.shape) if n == 1 and i < square.ndim and square.shape[i] > 1)
    return square.mean(dims, keepdim=True) if dims else square
