"""Functions of one kind above 0 and another below, joined there: ELiSH, xIELU."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import sigmoid_times
from undertow.foundation import Reference

BASIRAT = Reference("Basirat, Roth", 2018, "The Quest for the Golden Activation Function", arxiv="1808.00783")


@activation("elish")
class ELiSH(Pointwise):
    """f(x) = x σ(x) for x > 0, (e^x − 1) σ(x) for x ≤ 0.

    SiLU on the right; on the left it dips to −0.1716 at x = −0.8814, then goes to 0 as −e^x.  f″ jumps at 0.

    References
    ----------
    Basirat, Roth (2018). The Quest for the Golden Activation Function, arXiv:1808.00783.
    """

    formula = r"f(x) = \begin{cases} x\,\sigma(x) & x > 0 \\ (e^{x} - 1)\,\sigma(x) & x \leq 0 \end{cases}"
    derivative_formula = (
        r"f'(x) = \sigma(x)\,(1 + x\,\sigma(-x)) \text{ if } x > 0,"
        r"\ \sigma(x)\,\left(e^{x} + (e^{x} - 1)\,\sigma(-x)\right) \text{ if } x \leq 0"
    )
    second_derivative_formula = (
        r"f''(x) = \sigma'(x)\,(2 + x\,(1 - 2\sigma(x))) \text{ if } x > 0,"
        r"\ \sigma(x)\,\left(e^{x} + 2 e^{x}\sigma(-x) + (e^{x} - 1)\,\sigma(-x)\,(1 - 2\sigma(x))\right)"
        r" \text{ if } x \leq 0"
    )
    reference = BASIRAT
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        below = x.clamp(max=0.0)
        return torch.where(x > 0, sigmoid_times(x, x), torch.expm1(below) * torch.sigmoid(below))


@activation("hard_elish", "hardelish")
class HardELiSH(Pointwise):
    """f(x) = x h(x) for x > 0, (e^x − 1) h(x) for x ≤ 0, h(x) = min(max((x + 1)/2, 0), 1).

    0 up to −1, x from 1 on; f′ jumps at −1 and at 1, f″ at 0 too.

    References
    ----------
    Basirat, Roth (2018). The Quest for the Golden Activation Function, arXiv:1808.00783.
    """

    formula = (
        r"f(x) = \begin{cases} x\,h(x) & x > 0 \\ (e^{x} - 1)\,h(x) & x \leq 0 \end{cases},"
        r"\ h(x) = \min\left(\max\left(\tfrac{x + 1}{2}, 0\right), 1\right)"
    )
    derivative_formula = (
        r"f'(x) = \begin{cases} 0 & x \leq -1 \\ \tfrac{1}{2}\,(e^{x}\,(x + 2) - 1) & -1 < x \leq 0 \\"
        r" x + \tfrac{1}{2} & 0 < x \leq 1 \\ 1 & x > 1 \end{cases}"
    )
    second_derivative_formula = (
        r"f''(x) = \begin{cases} \tfrac{1}{2} e^{x}\,(x + 3) & -1 < x \leq 0 \\ 1 & 0 < x \leq 1 \\"
        r" 0 & \text{otherwise} \end{cases}"
    )
    reference = BASIRAT
    kinks = (-1.0, 0.0, 1.0)

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(-1.0, 1.0)
        gate = (near + 1.0) / 2.0
        return torch.where(x > 1.0, x, torch.where(x > 0, near, torch.expm1(near)) * gate)


@activation("xielu")
class XIELU(Pointwise):
    """f(x) = αₚx² + βx for x > 0, αₙ(e^x − 1) + (β − αₙ)x for x ≤ 0; αₚ = αₙ = 0.8, β = 0.5 as in the paper.

    An integral of ELU-like slopes: f′ grows as 2αₚx on the right and goes to β − αₙ on the left; negative where
    αₙ > β, so f rises again there.  The paper trains αₚ and αₙ through a softplus that keeps αₚ > 0 and αₙ > β;
    `layer()` trains both as they are.

    References
    ----------
    Huang, Schlag (2024). Deriving Activation Functions Using Integration, arXiv:2411.13010.
    """

    alpha_p: float | Tensor = 0.8
    alpha_n: float | Tensor = 0.8
    beta: float | Tensor = 0.5
    formula = (
        r"f(x) = \begin{cases} \alpha_p x^2 + \beta x & x > 0 \\"
        r" \alpha_n\,(e^{x} - 1) + (\beta - \alpha_n)\,x & x \leq 0 \end{cases}"
    )
    derivative_formula = (
        r"f'(x) = 2 \alpha_p x + \beta \text{ if } x > 0,\ \alpha_n e^{x} + \beta - \alpha_n \text{ if } x \leq 0"
    )
    second_derivative_formula = r"f''(x) = 2 \alpha_p \text{ if } x > 0,\ \alpha_n e^{x} \text{ if } x \leq 0"
    reference = Reference("Huang, Schlag", 2024, "Deriving Activation Functions Using Integration", arxiv="2411.13010")
    kinks = (0.0,)
    learned = ("alpha_p", "alpha_n")

    def f(self, x: Tensor) -> Tensor:
        above, below = x.clamp(min=0.0), x.clamp(max=0.0)
        left, slope = self.alpha_n * torch.expm1(below), self.beta - self.alpha_n
        if isinstance(slope, Tensor) or slope != 0:  # a line of slope 0 would be NaN at −∞
            left = left + slope * below
        return torch.where(x > 0, (self.alpha_p * above + self.beta) * above, left)
