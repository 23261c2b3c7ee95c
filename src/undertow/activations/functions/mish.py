"""Functions that gate their input by a bounded function of softplus or of e^x: Mish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import TWO_OVER_SQRT_PI
from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import gated, softplus, with_tail
from undertow.activations.parameters import require
from undertow.foundation import Reference

MISRA = Reference("Misra", 2019, "Mish: A Self Regularized Non-Monotonic Activation Function", arxiv="1908.08681")

OPEN = 7.0
"""From here on e^(−e^x) is 0 in every dtype, while e^x itself would overflow further out."""


@activation("mish")
class Mish(Pointwise):
    """Mish(x) = x tanh(ln(1 + e^x)).

    Smooth; dips to −0.3088 at x = −1.1924, then goes to 0 as x e^x does.  Close to SiLU, a little steeper.

    References
    ----------
    Misra (2019). Mish: A Self Regularized Non-Monotonic Activation Function, arXiv:1908.08681.
    """

    formula = r"\mathrm{Mish}(x) = x \tanh\left(\ln(1 + e^{x})\right)"
    derivative_formula = r"\mathrm{Mish}'(x) = g + x\,g',\ g = \tanh(\ln(1 + e^{x})),\ g' = (1 - g^2)\,\sigma(x)"
    second_derivative_formula = (
        r"\mathrm{Mish}''(x) = 2 g' + x\,g'',\ g'' = g'\,\left(1 - \sigma(x) - 2 g\,\sigma(x)\right)"
    )
    reference = MISRA

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, x, gated(x, torch.tanh(softplus(x))))


@activation("beta_mish")
class BetaMish(Pointwise):
    """f(x) = x tanh(β ln(1 + e^x)); β = 1.5 as in echoAI, β = 1 is Mish.

    A larger β opens the gate further to the left; β = 1.5 dips to −0.4511 at x = −1.2441.

    Raises
    ------
    InputError
        For β that is not positive.

    References
    ----------
    Misra (2019). Mish: A Self Regularized Non-Monotonic Activation Function, arXiv:1908.08681 (for β = 1; β is in
    the author's library Echo).
    """

    beta: float | Tensor = 1.5
    formula = r"f(x) = x \tanh\left(\beta \ln(1 + e^{x})\right)"
    derivative_formula = r"f'(x) = g + x\,g',\ g = \tanh(\beta\ln(1 + e^{x})),\ g' = \beta\,(1 - g^2)\,\sigma(x)"
    second_derivative_formula = r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,\left(1 - \sigma(x) - 2 \beta g\,\sigma(x)\right)"
    reference = MISRA

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "beta", lambda beta: beta > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, self.beta * x, gated(x, torch.tanh(self.beta * softplus(x))))


@activation("mila")
class Mila(Pointwise):
    """f(x) = x tanh(ln(1 + e^(x + β))); β = −0.25 as its author has it, β = 0 is Mish.

    β < 0 closes the gate a little, so the dip below 0 is flatter: −0.2495 at x = −1.1506.

    References
    ----------
    Misra (2019). Mish: A Self Regularized Non-Monotonic Activation Function, arXiv:1908.08681 (for β = 0; β is in
    the author's library Echo).
    """

    beta: float | Tensor = -0.25
    formula = r"f(x) = x \tanh\left(\ln(1 + e^{x + \beta})\right)"
    derivative_formula = r"f'(x) = g + x\,g',\ g = \tanh(\ln(1 + e^{t})),\ g' = (1 - g^2)\,\sigma(t),\ t = x + \beta"
    second_derivative_formula = r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,\left(1 - \sigma(t) - 2 g\,\sigma(t)\right)"
    reference = MISRA

    def f(self, x: Tensor) -> Tensor:
        t = x + self.beta
        return with_tail(t, x, gated(x, torch.tanh(softplus(t))))


@activation("serf")
class Serf(Pointwise):
    """f(x) = x erf(ln(1 + e^x)).

    Mish with erf in the place of tanh: a gate that opens sooner.  Dips to −0.3484 at x = −1.1931.

    References
    ----------
    Nag, Bhattacharyya (2021). SERF: Towards better training of deep neural networks using log-Softplus ERror
    activation Function, arXiv:2108.09598.
    """

    formula = r"f(x) = x\,\mathrm{erf}\left(\ln(1 + e^{x})\right)"
    derivative_formula = (
        r"f'(x) = g + x\,g',\ g = \mathrm{erf}(s),\ g' = \tfrac{2}{\sqrt{\pi}} e^{-s^2} \sigma(x),\ s = \ln(1 + e^{x})"
    )
    second_derivative_formula = r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,\left(1 - \sigma(x) - 2 s\,\sigma(x)\right)"
    reference = Reference(
        "Nag, Bhattacharyya",
        2021,
        "SERF: Towards better training of deep neural networks using log-Softplus ERror activation Function",
        arxiv="2108.09598",
    )

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, TWO_OVER_SQRT_PI * x, gated(x, torch.erf(softplus(x))))


@activation("telu", "tanhexp")
class TeLU(Pointwise):
    """f(x) = x tanh(e^x).

    Close to the identity from 1 on; dips to −0.3533 at x = −1.0789.  TanhExp, which is older, is the same function.

    References
    ----------
    Liu, Di (2020). TanhExp: A Smooth Activation Function with High Convergence Speed for Lightweight Neural Networks,
    arXiv:2003.09855.
    Fernandez, Mali (2024). Stable and Robust Deep Learning By Hyperbolic Tangent Exponential Linear Unit (TeLU),
    arXiv:2402.02790.
    """

    formula = r"f(x) = x \tanh\left(e^{x}\right)"
    derivative_formula = r"f'(x) = \tanh e^{x} + x\,e^{x}\,(1 - \tanh^2 e^{x})"
    second_derivative_formula = r"f''(x) = e^{x}\,(1 - \tanh^2 e^{x})\,\left(2 + x - 2 x\,e^{x} \tanh e^{x}\right)"
    reference = Reference(
        "Liu, Di",
        2020,
        "TanhExp: A Smooth Activation Function with High Convergence Speed for Lightweight Neural Networks",
        arxiv="2003.09855",
    )

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, x, gated(x, torch.tanh(torch.exp(x.clamp(max=OPEN)))))
