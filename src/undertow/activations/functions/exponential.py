"""Functions with an exponential: ELU and its kin, exp itself, and those between it and the logarithm."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import Exact
from undertow.activations.base import Pointwise, activation
from undertow.activations.parameters import require
from undertow.foundation import Reference

SELU_SCALE = Exact("1.05070098735548049341933498529460635195898")
"""λ and λα of the paper's fixed point: outputs of mean 0 and variance 1 from inputs N(0, 1)."""
SELU_BOTTOM = Exact("1.75809934084737685994021752081227957732351")


@activation("elu", "exponential linear unit")
class ELU(Pointwise):
    """ELU(x) = x for x > 0, α (e^x − 1) for x ≤ 0; α = 1 as in the paper.

    Goes to −α on the left, so its mean is nearer to 0 than ReLU's, and f′ there is small but not 0.

    References
    ----------
    Clevert, Unterthiner, Hochreiter (2016). Fast and Accurate Deep Network Learning by Exponential Linear Units,
    arXiv:1511.07289.
    """

    alpha: float | Tensor = 1.0
    formula = r"\mathrm{ELU}(x) = \begin{cases} x & x > 0 \\ \alpha\,(e^{x} - 1) & x \leq 0 \end{cases}"
    derivative_formula = r"\mathrm{ELU}'(x) = 1 \text{ if } x > 0,\ \alpha e^{x} \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{ELU}''(x) = 0 \text{ if } x > 0,\ \alpha e^{x} \text{ if } x \leq 0"
    reference = Reference(
        "Clevert, Unterthiner, Hochreiter",
        2016,
        "Fast and Accurate Deep Network Learning by Exponential Linear Units",
        arxiv="1511.07289",
    )
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0.0)))

    def df_from_output(self, y: Tensor) -> Tensor:
        """1 for y > 0, y + α for y ≤ 0 (α ≥ 0), within eps · α: left of x = −1 that is a growing part of f′."""
        require(self, "alpha", lambda alpha: alpha >= 0, "a number from 0 on where y is kept")
        return torch.where(y > 0, 1.0, y + self.alpha)


@activation("selu", "scaled exponential linear unit")
class SELU(Pointwise):
    """SELU(x) = λ x for x > 0, λ α (e^x − 1) for x ≤ 0; λ = 1.0507, α = 1.6733.

    Inputs of mean 0 and variance 1 come out with mean 0 and variance 1, and other ones come nearer to it with each
    layer, given weights of mean 0 and variance 1/fan_in.  f′ jumps at 0 from 1.758 to 1.051.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter (2017). Self-Normalizing Neural Networks, arXiv:1706.02515.
    """

    formula = (
        r"\mathrm{SELU}(x) = \lambda \begin{cases} x & x > 0 \\ \alpha\,(e^{x} - 1) & x \leq 0 \end{cases},"
        r"\ \lambda \approx 1.0507,\ \alpha \approx 1.6733"
    )
    derivative_formula = r"\mathrm{SELU}'(x) = \lambda \text{ if } x > 0,\ \lambda\alpha e^{x} \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{SELU}''(x) = 0 \text{ if } x > 0,\ \lambda\alpha e^{x} \text{ if } x \leq 0"
    reference = Reference(
        "Klambauer, Unterthiner, Mayr, Hochreiter", 2017, "Self-Normalizing Neural Networks", arxiv="1706.02515"
    )
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, SELU_SCALE * x, SELU_BOTTOM * torch.expm1(x.clamp(max=0.0)))

    def df_from_output(self, y: Tensor) -> Tensor:
        """λ for y > 0, y + λα for y ≤ 0, within eps · λα: left of x = −1 that is a growing part of f′."""
        return torch.where(y > 0, SELU_SCALE, y + SELU_BOTTOM)


@activation("celu", "continuously differentiable exponential linear unit")
class CELU(Pointwise):
    """CELU(x) = x for x > 0, α (e^(x/α) − 1) for x ≤ 0; α = 1 as in the paper, where it is ELU.

    f′ has no jump at 0 for any α, unlike ELU's.

    Raises
    ------
    InputError
        For α that is not positive.

    References
    ----------
    Barron (2017). Continuously Differentiable Exponential Linear Units, arXiv:1704.07483.
    """

    alpha: float | Tensor = 1.0
    formula = r"\mathrm{CELU}(x) = \begin{cases} x & x > 0 \\ \alpha\,(e^{x/\alpha} - 1) & x \leq 0 \end{cases}"
    derivative_formula = r"\mathrm{CELU}'(x) = 1 \text{ if } x > 0,\ e^{x/\alpha} \text{ if } x \leq 0"
    second_derivative_formula = (
        r"\mathrm{CELU}''(x) = 0 \text{ if } x > 0,\ \tfrac{1}{\alpha} e^{x/\alpha} \text{ if } x \leq 0"
    )
    reference = Reference("Barron", 2017, "Continuously Differentiable Exponential Linear Units", arxiv="1704.07483")
    kinks = (0.0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "alpha", lambda alpha: alpha > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0.0) / self.alpha))

    def df_from_output(self, y: Tensor) -> Tensor:
        """1 for y > 0, y/α + 1 for y ≤ 0 (α > 0), within eps: left of x = −α that is a growing part of f′."""
        require(self, "alpha", lambda alpha: alpha > 0, "a positive number where y is kept")
        return torch.where(y > 0, 1.0, y / self.alpha + 1)


@activation("exponential", "exp")
class Exponential(Pointwise):
    """f(x) = e^x.

    f′ = f: what is large grows the backward value as much.  For positive outputs such as a rate, in a last layer.

    References
    ----------
    Nelder, Wedderburn (1972). Generalized Linear Models. Journal of the Royal Statistical Society A 135 (the inverse
    of the logarithmic link).
    """

    formula = r"f(x) = e^{x}"
    derivative_formula = r"f'(x) = e^{x}"
    second_derivative_formula = r"f''(x) = e^{x}"
    reference = Reference(
        "Nelder, Wedderburn", 1972, "Generalized Linear Models. Journal of the Royal Statistical Society A 135"
    )

    keeps = "output"

    def f(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def df_from_output(self, y: Tensor) -> Tensor:
        """y itself: exact."""
        return y


@activation("soft_exponential")
class SoftExponential(Pointwise):
    """f(x) = (e^(αx) − 1)/α + α for α > 0, x for α = 0, −ln(1 − α (x + α))/α for α < 0; α = 1/2 unless told otherwise.

    From the logarithm (α = −1) over the identity to the exponential (α = 1); the paper trains α from 0 on.  For
    α < 0 it is defined for x > 1/α − α only, and NaN beyond.

    References
    ----------
    Godfrey, Gashler (2016). A Continuum among Logarithmic, Linear, and Exponential Functions, and Its Potential to
    Improve Generalization in Neural Networks, arXiv:1602.01321.
    """

    alpha: float | Tensor = 0.5
    formula = (
        r"f(x) = \begin{cases} \frac{e^{\alpha x} - 1}{\alpha} + \alpha & \alpha > 0 \\ x & \alpha = 0 \\"
        r" -\frac{1}{\alpha}\ln(1 - \alpha\,(x + \alpha)) & \alpha < 0 \end{cases}"
    )
    derivative_formula = (
        r"f'(x) = e^{\alpha x} \text{ if } \alpha \geq 0,\ \frac{1}{1 - \alpha\,(x + \alpha)} \text{ if } \alpha < 0"
    )
    second_derivative_formula = (
        r"f''(x) = \alpha\,e^{\alpha x} \text{ if } \alpha \geq 0,"
        r"\ \frac{\alpha}{(1 - \alpha\,(x + \alpha))^2} \text{ if } \alpha < 0"
    )
    reference = Reference(
        "Godfrey, Gashler",
        2016,
        "A Continuum among Logarithmic, Linear, and Exponential Functions, and Its Potential to Improve Generalization "
        "in Neural Networks",
        arxiv="1602.01321",
    )

    def f(self, x: Tensor) -> Tensor:
        a = self.alpha
        if not isinstance(a, Tensor):
            return x.clone() if a == 0 else _rising(x, a) if a > 0 else _flattening(x, a)
        # a number of the right sign in each branch that isn't taken, so that its gradient is a number too
        rising, flattening = _rising(x, torch.where(a > 0, a, 1.0)), _flattening(x, torch.where(a < 0, a, -1.0), a < 0)
        through = x + a * (1.0 + x.clamp(-1e18, 1e18).square() / 2.0)  # x, with the gradient that moves α away from 0
        return torch.where(a > 0, rising, torch.where(a < 0, flattening, through))


def _rising(x: Tensor, a: float | Tensor) -> Tensor:
    t = a * x
    return torch.where(t < -1.0, torch.exp(t) / a + (a - 1 / a), torch.expm1(t) / a + a)  # at a = 1 it is e^x itself


def _flattening(x: Tensor, a: float | Tensor, taken: Tensor | None = None) -> Tensor:
    inside = -a * (x + a)
    return -torch.log1p(inside if taken is None else torch.where(taken, inside, 0.0)) / a
