"""Functions of roots and fractions: softsign and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.foundation import Reference


@activation("softsign", "soft_sign", "elliott")
class Softsign(Pointwise):
    """f(x) = x / (1 + |x|), in (−1, 1).

    Odd, with f′(0) = 1; f′ goes to 0 as 1/x² only, so it saturates more slowly than tanh.  f″ jumps at 0.

    References
    ----------
    Elliott (1993). A Better Activation Function for Artificial Neural Networks. Institute for Systems Research,
    University of Maryland, report TR 93-8.
    """

    formula = r"f(x) = \frac{x}{1 + |x|}"
    derivative_formula = r"f'(x) = \frac{1}{(1 + |x|)^2}"
    second_derivative_formula = r"f''(x) = \frac{-2\,\mathrm{sign}(x)}{(1 + |x|)^3}"
    reference = Reference(
        "Elliott",
        1993,
        "A Better Activation Function for Artificial Neural Networks. Institute for Systems Research, University of "
        "Maryland, report TR 93-8",
    )
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        size = x.abs()
        far = torch.where(x > 0, 1.0, -1.0) * (1.0 - (1.0 + size).reciprocal())  # f′ of the other cancels here
        near = x.clamp(-1.0, 1.0) / (1.0 + size)
        return torch.where(size < 1.0, near, far)
