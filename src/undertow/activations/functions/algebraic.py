"""Functions of roots and fractions: softsign and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import excess
from undertow.activations.parameters import require
from undertow.foundation import Reference

CARLILE = Reference(
    "Carlile, Delamarter, Kinney, Marti, Whitney",
    2017,
    "Improving Deep Learning by Inverse Square Root Linear Units (ISRLUs)",
    arxiv="1710.09967",
)


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

    def df_from_output(self, y: Tensor) -> Tensor:
        """(1 − |y|)², within eps: a growing part of f′ on both sides."""
        return (1 - y.abs()).square()


class _InverseSquareRoot(Pointwise):
    alpha: float | Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "alpha", lambda alpha: alpha > 0, "a positive number")

    def _isru(self, x: Tensor) -> Tensor:
        size, near = x.abs(), x.clamp(-1.0, 1.0)
        # far out x² overflows, and f′ = (1 − αx²/(1 + αx²))/√(1 + αx²) cancels
        far = torch.sign(x) * torch.rsqrt(self.alpha + size.clamp(min=0.5).reciprocal().square())
        return torch.where(size < 1.0, near * torch.rsqrt(1.0 + self.alpha * near.square()), far)


@activation("isru", "inverse_square_root_unit")
class ISRU(_InverseSquareRoot):
    """f(x) = x / √(1 + αx²), in (−1/√α, 1/√α); α = 1 unless told otherwise.

    Odd and smooth, with f′(0) = 1; f′ goes to 0 as 1/|x|³.  Shaped as tanh, without an exponential.

    Raises
    ------
    InputError
        For α that is not positive.

    References
    ----------
    Carlile, Delamarter, Kinney, Marti, Whitney (2017). Improving Deep Learning by Inverse Square Root Linear Units
    (ISRLUs), arXiv:1710.09967.
    """

    alpha: float | Tensor = 1.0
    formula = r"f(x) = \frac{x}{\sqrt{1 + \alpha x^2}}"
    derivative_formula = r"f'(x) = \left(1 + \alpha x^2\right)^{-3/2}"
    second_derivative_formula = r"f''(x) = -3 \alpha x \left(1 + \alpha x^2\right)^{-5/2}"
    reference = CARLILE

    def f(self, x: Tensor) -> Tensor:
        return self._isru(x)


@activation("isrlu", "inverse_square_root_linear_unit")
class ISRLU(_InverseSquareRoot):
    """f(x) = x for x > 0, x / √(1 + αx²) for x ≤ 0; α = 1 unless told otherwise.

    An ELU without an exponential: goes to −1/√α on the left; f′ and f″ have no jump at 0.

    Raises
    ------
    InputError
        For α that is not positive.

    References
    ----------
    Carlile, Delamarter, Kinney, Marti, Whitney (2017). Improving Deep Learning by Inverse Square Root Linear Units
    (ISRLUs), arXiv:1710.09967.
    """

    alpha: float | Tensor = 1.0
    formula = r"f(x) = \begin{cases} x & x > 0 \\ \frac{x}{\sqrt{1 + \alpha x^2}} & x \leq 0 \end{cases}"
    derivative_formula = r"f'(x) = 1 \text{ if } x > 0,\ \left(1 + \alpha x^2\right)^{-3/2} \text{ if } x \leq 0"
    second_derivative_formula = (
        r"f''(x) = 0 \text{ if } x > 0,\ -3 \alpha x \left(1 + \alpha x^2\right)^{-5/2} \text{ if } x \leq 0"
    )
    reference = CARLILE
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self._isru(x))


@activation("sqnl", "square_nonlinearity")
class SQNL(Pointwise):
    """f(x) = x − x|x|/4 for |x| ≤ 2, ±1 beyond.

    Two half parabolas in the shape of tanh; f′ = 1 − |x|/2 reaches exactly 0 at ±2.

    References
    ----------
    Wuraola, Patel (2018). SQNL: A New Computationally Efficient Activation Function. IJCNN.
    """

    formula = r"f(x) = c - \frac{c\,|c|}{4},\ c = \min(\max(x, -2), 2)"
    derivative_formula = r"f'(x) = \max\left(1 - \tfrac{|x|}{2}, 0\right)"
    second_derivative_formula = r"f''(x) = -\tfrac{1}{2}\,\mathrm{sign}(x) \text{ if } |x| < 2,\ 0 \text{ beyond}"
    reference = Reference("Wuraola, Patel", 2018, "SQNL: A New Computationally Efficient Activation Function. IJCNN")
    kinks = (-2.0, 0.0, 2.0)

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(-2.0, 2.0)
        return near - near * near.abs() / 4.0


@activation("bent_identity", "bent_id")
class BentIdentity(Pointwise):
    """f(x) = (√(x² + 1) − 1)/2 + x.

    Strictly increasing; f′ goes from 1/2 on the left over 1 at 0 to 3/2 on the right, so it never saturates.

    References
    ----------
    Kunc, Kléma (2024). Three Decades of Activations: A Comprehensive Survey of 400 Activation Functions for Neural
    Networks, arXiv:2402.09092 (lists it).
    """

    formula = r"f(x) = \frac{\sqrt{x^2 + 1} - 1}{2} + x"
    derivative_formula = r"f'(x) = \frac{x}{2\sqrt{x^2 + 1}} + 1"
    second_derivative_formula = r"f''(x) = \frac{1}{2\,(x^2 + 1)^{3/2}}"
    reference = Reference(
        "Kunc, Kléma",
        2024,
        "Three Decades of Activations: A Comprehensive Survey of 400 Activation Functions for Neural Networks",
        arxiv="2402.09092",
    )

    def f(self, x: Tensor) -> Tensor:
        square = x.clamp(-1.0, 1.0).square()
        near = x + square / (2.0 * (torch.sqrt(square + 1.0) + 1.0))
        far = x.clamp(min=0.0) * 1.5 + x.clamp(max=0.0) * 0.5 + (excess(x, 1.0) - 1.0) / 2.0
        return torch.where(x.abs() < 1.0, near, far)
