"""Functions whose gate opens by part only, to ln 2 or 3/5: Logish, Smish, Gish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import LN_2
from undertow.activations.base import Pointwise, activation
from undertow.activations.functions.mish import OPEN
from undertow.activations.numerics import gated, with_tail
from undertow.foundation import Reference


@activation("logish")
class Logish(Pointwise):
    """f(x) = x ln(1 + σ(x)).

    Like SiLU on the left, with a dip to −0.2528 at x = −1.3725; on the right its slope is ln 2 = 0.693.

    References
    ----------
    Zhu, Zeng, Liu, Zhang (2021). Logish: A New Nonlinear Nonmonotonic Activation Function for Convolutional Neural
    Network. Neurocomputing 458.
    """

    formula = r"f(x) = x \ln(1 + \sigma(x))"
    derivative_formula = r"f'(x) = g + x\,g',\ g = \ln(1 + \sigma(x)),\ g' = \frac{\sigma'(x)}{1 + \sigma(x)}"
    second_derivative_formula = r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,(1 - 2\sigma(x) - g')"
    reference = Reference(
        "Zhu, Zeng, Liu, Zhang",
        2021,
        "Logish: A New Nonlinear Nonmonotonic Activation Function for Convolutional Neural Network. Neurocomputing 458",
    )

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, x, gated(x, torch.log1p(torch.sigmoid(x)), top=LN_2))


@activation("smish")
class Smish(Pointwise):
    """f(x) = x tanh(ln(1 + σ(x))).

    Like SiLU on the left, with a dip to −0.2500 at x = −1.3945; on the right its slope is 3/5.

    References
    ----------
    Wang, Ren, Wang (2022). Smish: A Novel Activation Function for Deep Learning Methods. Electronics 11(4).
    """

    formula = r"f(x) = x \tanh\left(\ln(1 + \sigma(x))\right)"
    derivative_formula = (
        r"f'(x) = g + x\,g',\ g = \tanh(\ln(1 + \sigma(x))),\ g' = (1 - g^2)\,\frac{\sigma'(x)}{1 + \sigma(x)}"
    )
    second_derivative_formula = (
        r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,\left(1 - 2\sigma(x) - (1 + 2 g)\,\frac{\sigma'(x)}{1 + \sigma(x)}\right)"
    )
    reference = Reference(
        "Wang, Ren, Wang", 2022, "Smish: A Novel Activation Function for Deep Learning Methods. Electronics 11(4)"
    )

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, x, gated(x, torch.tanh(torch.log1p(torch.sigmoid(x))), top=0.6))


@activation("gish")
class Gish(Pointwise):
    """f(x) = x ln(2 − e^(−e^x)).

    On the right its slope is ln 2 = 0.693, reached sooner than Logish's; dips to −0.2782 at x = −1.2820.

    References
    ----------
    Kaytan, Aydilek, Yeroğlu (2023). Gish: A Novel Activation Function for Image Classification. Neural Computing and
    Applications 35.
    """

    formula = r"f(x) = x \ln\left(2 - e^{-e^{x}}\right)"
    derivative_formula = r"f'(x) = g + x\,g',\ g = \ln(2 - e^{-e^{x}}),\ g' = \frac{e^{x - e^{x}}}{2 - e^{-e^{x}}}"
    second_derivative_formula = r"f''(x) = 2 g' + x\,g'',\ g'' = g'\,(1 - e^{x} - g')"
    reference = Reference(
        "Kaytan, Aydilek, Yeroğlu",
        2023,
        "Gish: A Novel Activation Function for Image Classification. Neural Computing and Applications 35",
    )

    def f(self, x: Tensor) -> Tensor:
        return with_tail(x, x, gated(x, torch.log1p(-torch.expm1(-torch.exp(x.clamp(max=OPEN)))), top=LN_2))
