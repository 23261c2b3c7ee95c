"""The largest of several inputs: maxout."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import activation
from undertow.activations.coupled import Coupled
from undertow.foundation import InputError, Reference


@activation("maxout")
class Maxout(Coupled):
    """y_i = max_j x_(i·k + j), j = 0 … k − 1: the largest of each k = `pieces` neighbours along `dim`.

    After a linear layer it is a convex piecewise linear function with k pieces, which is learned; the output has
    n / k entries.  The gradient goes to the largest one, to one of them where several are equal.

    Raises
    ------
    InputError
        Where `pieces` is below 2, and where it doesn't divide the number of entries along `dim`.

    References
    ----------
    Goodfellow, Warde-Farley, Mirza, Courville, Bengio (2013). Maxout Networks, arXiv:1302.4389.
    """

    pieces: int = 2
    dim: int = -1
    formula = r"y_i(x) = \max_{0 \leq j < k} x_{i k + j},\ k = 2"
    derivative_formula = (
        r"\frac{\partial y_i}{\partial x_j} = 1 \text{ where } x_j \text{ is the largest of its group},\ 0 \text{ else}"
    )
    second_derivative_formula = r"\frac{\partial^2 y_i}{\partial x_j\,\partial x_k} = 0 \text{ away from ties}"
    reference = Reference(
        "Goodfellow, Warde-Farley, Mirza, Courville, Bengio", 2013, "Maxout Networks", arxiv="1302.4389"
    )
    keeps_output = widens = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.pieces, int) or isinstance(self.pieces, bool) or self.pieces < 2:
            raise InputError(f"pieces={self.pieces!r}", "a whole number from 2 on", "Maxout(pieces=2)")

    def wide(self, x: Tensor) -> Tensor:
        return x  # nothing is rounded

    def value(self, x: Tensor) -> Tensor:
        return self._groups(x).amax(-1).movedim(-1, self.dim)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        g = g.movedim(self.dim, -1).unsqueeze(-1)
        groups = self._groups(kept)
        one_of_each = torch.zeros_like(groups).scatter(-1, self._largest(groups), g)
        return one_of_each.reshape(*groups.shape[:-2], groups.shape[-2] * self.pieces).movedim(-1, self.dim)

    def push(self, kept: Tensor, t: Tensor) -> Tensor:
        chosen = self._groups(t).gather(-1, self._largest(self._groups(kept)))
        return chosen.squeeze(-1).movedim(-1, self.dim)

    def _groups(self, x: Tensor) -> Tensor:
        return x.movedim(self.dim, -1).unflatten(-1, (-1, self.pieces))

    @staticmethod
    def _largest(groups: Tensor) -> Tensor:
        return groups.detach().argmax(-1, keepdim=True)

    def _checked(self, x: Tensor) -> Tensor:
        if super()._checked(x).shape[self.dim] % self.pieces:
            got = f"{x.shape[self.dim]} entries along dimension {self.dim} for maxout of {self.pieces} pieces"
            raise InputError(got, f"a multiple of {self.pieces}", "Maxout(pieces=2)")
        return x
