"""Functions that turn a vector into a distribution with exact zeros: sparsemax and entmax."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import activation
from undertow.activations.coupled import Coupled
from undertow.activations.evaluate import working
from undertow.foundation import Reference

FLOOR = -2.0
"""Entries this far below the largest count as much as any lower one: the threshold τ is at least −1."""


@activation("sparsemax")
class Sparsemax(Coupled):
    """p = argmin_p ½‖p − x‖² over distributions, that is p_i = max(x_i − τ, 0) with Σ p_i = 1, over `dim`.

    The Euclidean projection on the simplex: entries that are 1 or more below the largest get exactly 0, and no
    gradient.  τ is found exactly, by sorting.

    References
    ----------
    Martins, Astudillo (2016). From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label Classification,
    arXiv:1602.02068.
    """

    dim: int = -1
    formula = r"p_i(x) = \max(x_i - \tau(x), 0),\ \sum_i p_i = 1"
    derivative_formula = (
        r"\frac{\partial p_i}{\partial x_j} = \delta_{ij} - \frac{1}{|S|} \text{ if } i, j \in S,\ 0 \text{ else};\ "
        r"S = \{i : p_i > 0\}"
    )
    second_derivative_formula = r"\frac{\partial^2 p_i}{\partial x_j\,\partial x_k} = 0 \text{ away from changes of } S"
    reference = Reference(
        "Martins, Astudillo",
        2016,
        "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label Classification",
        arxiv="1602.02068",
    )

    def value(self, x: Tensor) -> Tensor:
        z, ordered, rank = _ordered(x, self.dim)
        total = ordered.cumsum(self.dim)
        size = _support(1 + rank * ordered > total, self.dim)
        tau = (total.gather(self.dim, size - 1) - 1) / size
        return (z - tau).clamp(min=0.0).to(x.dtype)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        return _centred((kept > 0).to(g.dtype), g, self.dim)


@activation("entmax15", "entmax", "entmax 1.5")
class Entmax15(Coupled):
    """p_i = max(x_i / 2 − τ, 0)², Σ p_i = 1: the 1.5-entmax, over the dimension `dim`.

    Between softmax (which never gives 0) and sparsemax: entries that are 2 or more below the largest get exactly 0.
    τ is found exactly, by sorting.

    References
    ----------
    Peters, Niculae, Martins (2019). Sparse Sequence-to-Sequence Models, arXiv:1905.05702.
    """

    dim: int = -1
    formula = r"p_i(x) = \max\left(\tfrac{x_i}{2} - \tau(x), 0\right)^2,\ \sum_i p_i = 1"
    derivative_formula = (
        r"\frac{\partial p_i}{\partial x_j} = q_i\left(\delta_{ij} - \frac{q_j}{\sum_k q_k}\right),\ q = \sqrt{p}"
    )
    second_derivative_formula = (
        r"\frac{\partial^2 p_i}{\partial x_j\,\partial x_k} = \delta_{ij}\,q_i' - \frac{q_i' q_j + q_i q_j'}{Q} + "
        r"\frac{q_i q_j Q'}{Q^2},\ Q = \sum_l q_l,\ "
        r"q_i' = \frac{\partial q_i}{\partial x_k} = \tfrac{1}{2}\left(\delta_{ik} - \frac{q_k}{Q}\right)"
    )
    reference = Reference("Peters, Niculae, Martins", 2019, "Sparse Sequence-to-Sequence Models", arxiv="1905.05702")

    def value(self, x: Tensor) -> Tensor:
        z, ordered, rank = _ordered(x, self.dim, 0.5)
        mean = ordered.cumsum(self.dim) / rank
        spread = ordered.square().cumsum(self.dim) - rank * mean.square()
        tau = mean - ((1 - spread) / rank).clamp(min=0.0).sqrt()
        size = _support(tau <= ordered, self.dim)
        return (z - tau.gather(self.dim, size - 1)).clamp(min=0.0).square().to(x.dtype)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        return _centred(_root(kept), g, self.dim)


def _ordered(x: Tensor, dim: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """scale · (x − max x) in wider arithmetic, the same from the largest down, and the ranks from 1 on."""
    wide = working(x)
    z = scale * (wide - wide.amax(dim, keepdim=True))
    ordered = z.clamp(min=FLOOR).sort(dim, descending=True).values  # also keeps −∞ out of the sums
    n = x.shape[dim]
    shape = [1] * x.ndim
    shape[dim] = n
    return z, ordered, torch.arange(1, n + 1, device=x.device, dtype=wide.dtype).reshape(shape)


def _support(inside: Tensor, dim: int) -> Tensor:
    return inside.sum(dim, keepdim=True).clamp(min=1)  # none where there is a NaN


def _centred(weights: Tensor, g: Tensor, dim: int) -> Tensor:
    """w_i (g_i − the mean of g with the weights w)."""
    return weights * (g - (weights * g).sum(dim, keepdim=True) / weights.sum(dim, keepdim=True))


def _root(p: Tensor) -> Tensor:
    """√p with the derivative 0 at 0, where p stays 0."""
    inside = p > 0
    return torch.where(inside, p.where(inside, 1.0).sqrt(), p)
