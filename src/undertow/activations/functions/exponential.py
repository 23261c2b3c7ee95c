"""Functions with an exponential below 0: ELU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import step, zero
from undertow.foundation import Reference


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
        if isinstance(self.alpha, Tensor):
            return torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0.0)))
        return F.elu(x, self.alpha)

    def df(self, x: Tensor) -> Tensor:
        return torch.where(x <= 0, self._left(x), step(x))

    def d2f(self, x: Tensor) -> Tensor:
        return torch.where(x <= 0, self._left(x), zero(x))

    def _left(self, x: Tensor) -> Tensor:
        return self.alpha * torch.exp(x.clamp(max=0.0))
