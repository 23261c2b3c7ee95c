"""Functions that are flat at both ends: sigmoid and tanh."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import sech
from undertow.foundation import Reference


@activation("sigmoid", "logistic", "expit")
class Sigmoid(Pointwise):
    """σ(x) = 1 / (1 + e^−x), in (0, 1).

    Steepest at 0, where σ′ = 1/4: a chain of sigmoids multiplies the backward value by at most 1/4 each.

    References
    ----------
    Rumelhart, Hinton, Williams (1986). Learning representations by back-propagating errors. Nature 323.
    """

    formula = r"\sigma(x) = \frac{1}{1 + e^{-x}}"
    derivative_formula = r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))"
    second_derivative_formula = r"\sigma''(x) = \sigma'(x)\,(1 - 2\sigma(x))"
    reference = Reference(
        "Rumelhart, Hinton, Williams", 1986, "Learning representations by back-propagating errors. Nature 323"
    )

    def f(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def df(self, x: Tensor) -> Tensor:
        return (sech(x / 2) / 2).square()  # σ(x)σ(−x): no 1 − σ, which is 0 from x = 16.6 in float32

    def d2f(self, x: Tensor) -> Tensor:
        return -torch.tanh(x / 2) * self.df(x)


@activation("tanh", "hyperbolic tangent")
class Tanh(Pointwise):
    """tanh x = (e^x − e^−x) / (e^x + e^−x), in (−1, 1).

    Odd, with tanh′(0) = 1: its outputs are centred, and it is four times as steep as sigmoid.

    References
    ----------
    LeCun, Bottou, Orr, Müller (1998). Efficient BackProp. In: Neural Networks: Tricks of the Trade.
    """

    formula = r"\tanh(x) = \frac{e^{x} - e^{-x}}{e^{x} + e^{-x}}"
    derivative_formula = r"\tanh'(x) = 1 - \tanh^2(x)"
    second_derivative_formula = r"\tanh''(x) = -2\tanh(x)\,(1 - \tanh^2(x))"
    reference = Reference(
        "LeCun, Bottou, Orr, Müller", 1998, "Efficient BackProp. In: Neural Networks: Tricks of the Trade"
    )

    def f(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def df(self, x: Tensor) -> Tensor:
        return sech(x).square()

    def d2f(self, x: Tensor) -> Tensor:
        return -2 * torch.tanh(x) * self.df(x)
