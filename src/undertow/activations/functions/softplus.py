"""Smooth rectifiers, nearly 0 on the left and nearly x on the right: softplus and its kin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import softplus
from undertow.foundation import InputError, Reference


@activation("softplus", "soft_relu", "smooth relu")
class Softplus(Pointwise):
    """f(x) = ln(1 + e^(βx)) / β; β = 1 as in the paper.

    Positive and convex; f′ is σ(βx), a sigmoid.  β → ∞ is ReLU.  torch's `threshold` is not part of the function:
    this one is not cut off.

    Raises
    ------
    InputError
        For β = 0.

    References
    ----------
    Dugas, Bengio, Bélisle, Nadeau, Garcia (2001). Incorporating Second-Order Functional Knowledge for Better Option
    Pricing. NIPS 13.
    """

    beta: float | Tensor = 1.0
    formula = r"f(x) = \frac{1}{\beta}\,\ln\left(1 + e^{\beta x}\right)"
    derivative_formula = r"f'(x) = \sigma(\beta x)"
    second_derivative_formula = r"f''(x) = \beta\,\sigma(\beta x)\,\sigma(-\beta x)"
    reference = Reference(
        "Dugas, Bengio, Bélisle, Nadeau, Garcia",
        2001,
        "Incorporating Second-Order Functional Knowledge for Better Option Pricing. NIPS 13",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.beta, (int, float)) and self.beta == 0:
            raise InputError(f"beta={self.beta}", "a number other than 0", "Softplus(beta=1.0)")

    def f(self, x: Tensor) -> Tensor:
        t = self.beta * x  # which may overflow where x doesn't
        return torch.where(t > 0, x, 0.0) + softplus(-t.abs()) / self.beta


@activation("logsigmoid", "log_sigmoid")
class LogSigmoid(Pointwise):
    """f(x) = ln σ(x) = −ln(1 + e^−x).

    Negative and concave: −softplus(−x).  The log-likelihood of a two-class model whose logit is x.

    References
    ----------
    Cox (1958). The Regression Analysis of Binary Sequences. Journal of the Royal Statistical Society B 20.
    """

    formula = r"f(x) = \ln \sigma(x) = -\ln\left(1 + e^{-x}\right)"
    derivative_formula = r"f'(x) = \sigma(-x)"
    second_derivative_formula = r"f''(x) = -\sigma(x)\,\sigma(-x)"
    reference = Reference(
        "Cox", 1958, "The Regression Analysis of Binary Sequences. Journal of the Royal Statistical Society B 20"
    )

    def f(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)
