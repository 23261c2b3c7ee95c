"""Functions that turn a vector into a distribution: softmax and its kin."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import activation
from undertow.activations.coupled import Coupled
from undertow.activations.evaluate import working
from undertow.activations.numerics import finite
from undertow.foundation import Reference

BRIDLE = Reference(
    "Bridle",
    1990,
    "Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual "
    "Information Estimation of Parameters. NIPS 2",
)


@activation("softmax", "softargmax", presets={"softmax2d": {"dim": -3}})
class Softmax(Coupled):
    """s_i = e^(x_i) / Σ_j e^(x_j), over the dimension `dim`.

    Positive, with the sum 1; the same for x + c.  An entry of −∞ (a mask) gives 0; a vector of nothing else, or one
    with +∞, gives NaN, as in torch.  `softmax2d` is the one over the channels of images.

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
    reference = BRIDLE

    def value(self, x: Tensor) -> Tensor:
        return _softmax(x, self.dim)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        return kept * (g - (kept * g).sum(self.dim, keepdim=True))

    def jacobian(self, x: Tensor) -> Tensor:
        s, unit_minus = _parts(x)
        return s.unsqueeze(-1) * unit_minus

    def hessian(self, x: Tensor) -> Tensor:
        s, unit_minus = _parts(x)
        jacobian = s.unsqueeze(-1) * unit_minus
        product = unit_minus.unsqueeze(-1) * unit_minus.unsqueeze(-2)
        return s[..., None, None] * (product - jacobian.unsqueeze(-3))


@activation("log_softmax")
class LogSoftmax(Coupled):
    """l_i = x_i − ln Σ_j e^(x_j): the logarithm of softmax, over the dimension `dim`.

    Right to the last digits also where one entry has nearly all: there l_i = −ln(1 + Σ of the others), which is not
    rounded to 0, and neither is its gradient.

    References
    ----------
    Bridle (1990). Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual
    Information Estimation of Parameters. NIPS 2.
    """

    dim: int = -1
    formula = r"l_i(x) = x_i - \ln \sum_j e^{x_j}"
    derivative_formula = r"\frac{\partial l_i}{\partial x_j} = \delta_{ij} - s_j,\ s_j = e^{l_j}"
    second_derivative_formula = r"\frac{\partial^2 l_i}{\partial x_j\,\partial x_k} = -s_j\,(\delta_{jk} - s_k)"
    reference = BRIDLE

    def value(self, x: Tensor) -> Tensor:
        shifted, lost = _shifted(x, self.dim)
        top = shifted.detach().argmax(self.dim, keepdim=True)
        others = _exp(shifted, lost).scatter(self.dim, top, 0.0).sum(self.dim, keepdim=True)
        return (shifted + (lost - torch.log1p(others))).to(x.dtype)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        # g_i − s_i Σ g with 1 − s_i taken from the logarithm: at a target whose s_i is 1 − 1e-9 it is 1e-9, not 0
        rest = g.sum(self.dim, keepdim=True) - g
        return -g * torch.expm1(kept) - torch.exp(kept) * rest

    def push(self, kept: Tensor, t: Tensor) -> Tensor:
        return t - (torch.exp(kept) * t).sum(self.dim, keepdim=True)

    def jacobian(self, x: Tensor) -> Tensor:
        _, unit_minus = _parts(x)
        return unit_minus

    def hessian(self, x: Tensor) -> Tensor:
        s, unit_minus = _parts(x)
        n = s.shape[-1]
        return (-s.unsqueeze(-1) * unit_minus).unsqueeze(-3).expand(*s.shape, n, n)


@activation("softmin")
class Softmin(Coupled):
    """s_i = e^(−x_i) / Σ_j e^(−x_j): softmax of −x, over the dimension `dim`.

    References
    ----------
    Bridle (1990). Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum Mutual
    Information Estimation of Parameters. NIPS 2.
    """

    dim: int = -1
    formula = r"s_i(x) = \frac{e^{-x_i}}{\sum_j e^{-x_j}}"
    derivative_formula = r"\frac{\partial s_i}{\partial x_j} = -s_i\,(\delta_{ij} - s_j)"
    second_derivative_formula = Softmax.second_derivative_formula
    reference = BRIDLE

    def value(self, x: Tensor) -> Tensor:
        return _softmax(-x, self.dim)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        return kept * ((kept * g).sum(self.dim, keepdim=True) - g)

    def jacobian(self, x: Tensor) -> Tensor:
        return -Softmax().jacobian(-x)

    def hessian(self, x: Tensor) -> Tensor:
        return Softmax().hessian(-x)


@activation("solu", "softmax linear unit")
class SoLU(Coupled):
    """f_i = x_i · softmax(x)_i, over the dimension `dim`.

    Large entries keep most of their size and small ones next to them vanish, which favours units that stand for one
    thing each.  The paper has a LayerNorm after it.

    References
    ----------
    Elhage, Hume, Olsson, Nanda, Henighan, Johnston, and others (2022). Softmax Linear Units. Transformer Circuits
    Thread.
    """

    dim: int = -1
    formula = r"f_i(x) = x_i\,s_i(x),\ s = \mathrm{softmax}"
    derivative_formula = r"\frac{\partial f_i}{\partial x_j} = s_i\,\left(\delta_{ij} + x_i\,(\delta_{ij} - s_j)\right)"
    second_derivative_formula = (
        r"\frac{\partial^2 f_i}{\partial x_j\,\partial x_k} = \delta_{ij}\,\frac{\partial s_i}{\partial x_k} + "
        r"\delta_{ik}\,\frac{\partial s_i}{\partial x_j} + x_i\,\frac{\partial^2 s_i}{\partial x_j\,\partial x_k}"
    )
    reference = Reference(
        "Elhage, Hume, Olsson, Nanda, Henighan, Johnston, and others",
        2022,
        "Softmax Linear Units. Transformer Circuits Thread",
    )
    keeps_output = False

    def value(self, x: Tensor) -> Tensor:
        wide = working(x)
        return (finite(wide) * _softmax(wide, self.dim)).to(x.dtype)  # a masked entry gives −0 and not −∞ · 0

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        s, x = _softmax(kept, self.dim), finite(kept)
        return s * (g * (1 + x) - (g * x * s).sum(self.dim, keepdim=True))

    def push(self, kept: Tensor, t: Tensor) -> Tensor:
        s, x = _softmax(kept, self.dim), finite(kept)
        return s * (t * (1 + x) - x * (s * t).sum(self.dim, keepdim=True))


def _softmax(x: Tensor, dim: int) -> Tensor:
    wide = working(x)
    if wide.dtype != x.dtype:
        return torch.softmax(wide, dim).to(x.dtype)  # float64's own errors are far below the last digit
    shifted, lost = _shifted(x, dim)
    e = _exp(shifted, lost)
    return (e / e.sum(dim, keepdim=True)).to(x.dtype)


def _shifted(x: Tensor, dim: int) -> tuple[Tensor, Tensor | float]:
    """x − max x in wider arithmetic, and what rounding took from the difference.

    e^d has the relative error of d times |d|, so that at d = −60 the rounding of a float64 difference alone would
    cost 32 units of the last place.
    """
    wide = working(x)
    highest = wide.detach().amax(dim, keepdim=True)
    shifted = wide - highest
    if wide.dtype != x.dtype:
        return shifted, 0.0
    part = shifted - wide  # Knuth's two-sum of wide and −highest
    lost = (wide - (shifted - part)) + (-highest - part)
    return shifted, torch.where(lost.isfinite(), lost, 0.0)


def _exp(shifted: Tensor, lost: Tensor | float) -> Tensor:
    e = torch.exp(shifted)
    return e if isinstance(lost, float) else e + e * lost


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """s over the last dimension, and δ_ij − s_j."""
    s = _softmax(x, -1)
    n = s.shape[-1]
    own = torch.eye(n, dtype=torch.bool, device=s.device)
    others = s.unsqueeze(-2).expand(*s.shape[:-1], n, n).masked_fill(own, 0)
    rest = others.sum(-1)  # 1 − s_j as the sum of the others: no cancellation where s_j is near 1
    return s, torch.diag_embed(rest) - others
