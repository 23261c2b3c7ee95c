"""Functions with an exponential below 0: ELU and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import Exact
from undertow.activations.base import Pointwise, activation
from undertow.foundation import InputError, Reference

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


@activation("celu", "continuously differentiable exponential linear unit")
class CELU(Pointwise):
    """CELU(x) = x for x > 0, α (e^(x/α) − 1) for x ≤ 0; α = 1 as in the paper, where it is ELU.

    f′ has no jump at 0 for any α, unlike ELU's.

    Raises
    ------
    InputError
        For α = 0.

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
        if isinstance(self.alpha, (int, float)) and self.alpha == 0:
            raise InputError(f"alpha={self.alpha}", "a number other than 0", "CELU(alpha=1.0)")

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0.0) / self.alpha))
