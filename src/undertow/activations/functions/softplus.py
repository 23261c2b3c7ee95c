"""Smooth rectifiers, nearly 0 on the left and nearly x on the right: softplus and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import TAIL, excess, softplus
from undertow.activations.parameters import require
from undertow.foundation import Reference

BLONDEL = Reference(
    "Blondel, Martins, Niculae", 2020, "Learning with Fenchel-Young Losses. JMLR 21", arxiv="1901.02324"
)


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
        require(self, "beta", lambda beta: beta != 0, "a number other than 0")

    def f(self, x: Tensor) -> Tensor:
        t = self.beta * x  # which may overflow where x doesn't
        return torch.where(t > 0, x, 0.0) + softplus(-t.abs()) / self.beta

    def df_from_output(self, y: Tensor) -> Tensor:
        """σ(βx) = 1 − e^(−βy), within 3 ulp, for β = 1 within 2."""
        return -torch.expm1(-self.beta * y)


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
        return -softplus(-x)  # F.logsigmoid forgets the memory format of x

    def df_from_output(self, y: Tensor) -> Tensor:
        """σ(−x) = 1 − e^y, within 2 ulp."""
        return -torch.expm1(y)


@activation("sqrtsoftplus", "sqrt_softplus")
class SqrtSoftplus(Pointwise):
    """f(x) = √(ln(1 + e^x)).

    Goes to 0 as e^(x/2) on the left and grows as √x on the right, so f′ goes to 0 there as 1/(2√x).  It scores the
    experts in the router of DeepSeek-V4, says the transformers library, whose name for it this is.

    References
    ----------
    Hugging Face (2026). Transformers 5.23, SqrtSoftplusActivation.
    """

    formula = r"f(x) = \sqrt{\ln\left(1 + e^{x}\right)}"
    derivative_formula = r"f'(x) = \frac{\sigma(x)}{2 f(x)}"
    second_derivative_formula = r"f''(x) = \frac{\sigma(x)\,\sigma(-x)}{2 f(x)} - \frac{\sigma^2(x)}{4 f^3(x)}"
    reference = Reference("Hugging Face", 2026, "Transformers 5.23, SqrtSoftplusActivation")

    def f(self, x: Tensor) -> Tensor:
        tail = torch.exp(x.clamp(max=TAIL) / 2)  # there ln(1 + e^x) is e^x, which underflows before its root does
        return torch.where(x < TAIL, tail, torch.sqrt(softplus(x.clamp(min=2 * TAIL))))


@activation("squareplus")
class Squareplus(Pointwise):
    """f(x) = (x + √(x² + b)) / 2; b = 4 as in jax and Keras.

    A softplus without exponentials: positive, convex, f(0) = √b / 2; on the left it goes to 0 as b/(4|x|) only.
    b → 0 is ReLU.  Computed as max(x, 0) plus what √(x² + b) is above |x|, which doesn't cancel.

    Raises
    ------
    InputError
        For b that is not positive.

    References
    ----------
    Barron (2021). Squareplus: A Softplus-Like Algebraic Rectifier, arXiv:2112.11687.
    """

    b: float | Tensor = 4.0
    formula = r"f(x) = \frac{x + \sqrt{x^2 + b}}{2}"
    derivative_formula = r"f'(x) = \frac{1}{2}\left(1 + \frac{x}{\sqrt{x^2 + b}}\right)"
    second_derivative_formula = r"f''(x) = \frac{b}{2\,(x^2 + b)^{3/2}}"
    reference = Reference("Barron", 2021, "Squareplus: A Softplus-Like Algebraic Rectifier", arxiv="2112.11687")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "b", lambda b: b > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        return x.clamp(min=0.0) + excess(x, self.b) / 2


@activation("sparse_plus", "sparseplus")
class SparsePlus(Pointwise):
    """f(x) = 0 for x ≤ −1, (x + 1)²/4 for −1 < x ≤ 1, x for x > 1.

    The softplus that belongs to sparsemax: exactly 0 on the left and exactly x on the right; f′ is sparse sigmoid.

    References
    ----------
    Blondel, Martins, Niculae (2020). Learning with Fenchel-Young Losses. JMLR 21, arXiv:1901.02324.
    """

    formula = r"f(x) = \begin{cases} 0 & x \leq -1 \\ (x + 1)^2/4 & -1 < x \leq 1 \\ x & x > 1 \end{cases}"
    derivative_formula = r"f'(x) = \min\left(\max\left(\tfrac{x + 1}{2}, 0\right), 1\right)"
    second_derivative_formula = r"f''(x) = \tfrac{1}{2} \text{ if } -1 < x \leq 1,\ 0 \text{ otherwise}"
    reference = BLONDEL
    kinks = (-1.0, 1.0)

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 1.0, x, ((x.clamp(-1.0, 1.0) + 1.0) / 2).square())
