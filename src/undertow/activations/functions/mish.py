"""Functions that gate their input by a bounded function of softplus or of e^x: Mish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import gated, softplus, with_tail
from undertow.foundation import Reference

MISRA = Reference("Misra", 2019, "Mish: A Self Regularized Non-Monotonic Activation Function", arxiv="1908.08681")


@activation("mish")
class Mish(Pointwise):
    """Mish(x) = x tanh(ln(1 + e^x)).

    Smooth; dips to −0.3088 at x = −1.1925, then goes to 0 as x e^x does.  Close to SiLU, a little steeper.

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
