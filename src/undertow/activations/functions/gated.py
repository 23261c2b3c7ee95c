"""Functions that gate their input by a function of itself: Swish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import sigmoid_times
from undertow.foundation import Reference


@activation("swish", presets={"silu": {"beta": 1.0}})
class Swish(Pointwise):
    """Swish(x) = x · σ(βx), σ(t) = 1 / (1 + e^−t); β = 1 is SiLU.

    Smooth; below 0 it dips to −0.2785/β at x = −1.278/β and f′ there is negative, then goes to 0: unlike ReLU's it
    is not exactly 0.  β = 0 is x/2, β → ∞ is ReLU.  `layer(trainable=True)` trains β.

    References
    ----------
    Ramachandran, Zoph, Le (2017). Searching for Activation Functions, arXiv:1710.05941.
    Elfwing, Uchibe, Doya (2018). Sigmoid-Weighted Linear Units (SiLU, β = 1), arXiv:1702.03118.
    """

    beta: float | Tensor = 1.0
    formula = r"\mathrm{Swish}(x) = x\,\sigma(\beta x)"
    derivative_formula = r"\mathrm{Swish}'(x) = \sigma(\beta x)\,\left(1 + \beta x\,(1 - \sigma(\beta x))\right)"
    second_derivative_formula = (
        r"\mathrm{Swish}''(x) = \beta\,\sigma'(\beta x)\,\left(2 + \beta x\,(1 - 2\sigma(\beta x))\right)"
    )
    reference = Reference("Ramachandran, Zoph, Le", 2017, "Searching for Activation Functions", arxiv="1710.05941")

    def f(self, x: Tensor) -> Tensor:
        return sigmoid_times(self.beta * x, x)

    def df(self, x: Tensor) -> Tensor:
        t = self.beta * x
        above = t.clamp(max=100.0)  # 1 + 100 σ(−100) is already 1 in float64; at +∞ the product would be ∞ · 0
        return sigmoid_times(t, 1 + above * torch.sigmoid(-above))

    def d2f(self, x: Tensor) -> Tensor:
        # 2 · the limit of `sech`: beyond it the result is 0 in this dtype
        limit = 176.0 if x.dtype == torch.float32 else 1418.0
        t = (self.beta * x).clamp(-limit, limit)
        half = torch.cosh(t / 2).reciprocal()
        return self.beta * (2 - t * torch.tanh(t / 2)) * half * half / 4
