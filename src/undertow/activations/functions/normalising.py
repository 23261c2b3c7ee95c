"""Functions that couple the elements of a vector: softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Activation, activation
from undertow.activations.kinds import Numeric, rounded_once, through
from undertow.foundation import InputError, Reference


@activation("softmax", "softargmax")
class Softmax(Activation):
    """s_i = e^(x_i) / Σ_j e^(x_j), over the dimension `dim`.

    Each output depends on every input, so f′ is the Jacobian, with i and j as the last two dimensions and `dim`
    removed: shape (..., n, n); f″ has shape (..., n, n, n).

    References
    ----------
    Bridle (1990). Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual
    Information Estimation of Parameters. NIPS 2.
    """

    dim: int = -1
    formula = r"s_i(x) = \frac{e^{x_i}}{\sum_j e^{x_j}}"
    derivative_formula = r"\frac{\partial s_i}{\partial x_j} = s_i\,(\delta_{ij} - s_j)"
    second_derivative_formula = (
        r"\frac{\partial^2 s_i}{\partial x_j\,\partial x_k} = "
        r"s_i\,\left((\delta_{ij} - s_j)(\delta_{ik} - s_k) - s_j\,(\delta_{jk} - s_k)\right)"
    )
    reference = Reference(
        "Bridle",
        1990,
        "Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual "
        "Information Estimation of Parameters. NIPS 2",
    )

    def __post_init__(self) -> None:
        if not isinstance(self.dim, int) or isinstance(self.dim, bool):
            raise InputError(f"dim={self.dim!r}", "a whole number", "Softmax(dim=-1)")

    def __call__(self, x: Numeric) -> Numeric:
        return through(lambda t: rounded_once(lambda w: torch.softmax(self._checked(w), self.dim), t), x)

    def derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: rounded_once(self._jacobian, t), x)

    def second_derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: rounded_once(self._hessian, t), x)

    def _checked(self, x: Tensor) -> Tensor:
        if not -x.ndim <= self.dim < x.ndim:
            raise InputError(
                f"an input of shape {tuple(x.shape)} for softmax over dimension {self.dim}",
                "an input that has this dimension",
                "Softmax(dim=-1) on a tensor of shape (batch, classes)",
            )
        return x

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s with its dimension last, and δ_ij − s_j."""
        s = torch.softmax(self._checked(x), self.dim).movedim(self.dim, -1)
        n = s.shape[-1]
        own = torch.eye(n, dtype=torch.bool, device=s.device)
        others = s.unsqueeze(-2).expand(*s.shape[:-1], n, n).masked_fill(own, 0)
        rest = others.sum(-1)  # 1 − s_j as the sum of the others: no cancellation where s_j is near 1
        return s, torch.diag_embed(rest) - others

    def _jacobian(self, x: Tensor) -> Tensor:
        s, unit_minus = self._parts(x)
        return s.unsqueeze(-1) * unit_minus

    def _hessian(self, x: Tensor) -> Tensor:
        s, unit_minus = self._parts(x)
        jacobian = s.unsqueeze(-1) * unit_minus
        product = unit_minus.unsqueeze(-1) * unit_minus.unsqueeze(-2)
        return s[..., None, None] * (product - jacobian.unsqueeze(-3))
