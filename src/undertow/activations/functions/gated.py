"""Functions that gate their input by a sigmoid of itself: Swish and its kin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.arithmetic.constants import SQRT_HALF
from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import finite, gated, sigmoid_times
from undertow.activations.parameters import require
from undertow.foundation import Reference

SITU = Reference("Wang", 2026, "x-transformers 2.31: soft clamped gates of a GLU, as in Kimi K3's SiTU-GLU")


@activation("swish", presets={"silu": {"beta": 1.0}})
class Swish(Pointwise):
    """Swish(x) = x · σ(βx), σ(t) = 1 / (1 + e^−t); β = 1 is SiLU.

    Smooth; below 0 it dips to −0.2785/β at x = −1.278/β and f′ there is negative, then goes to 0: unlike ReLU's it
    is not exactly 0.  β = 0 is x/2, β → ∞ is ReLU.  `layer(trainable=True)` trains β.

    References
    ----------
    Ramachandran, Zoph, Le (2017). Searching for Activation Functions, arXiv:1710.05941.
    Elfwing, Uchibe, Doya (2018). Sigmoid-Weighted Linear Units (SiLU, β = 1), arXiv:1702.03118.
    """

    beta: float | Tensor = 1.0
    formula = r"\mathrm{Swish}(x) = x\,\sigma(\beta x)"
    derivative_formula = r"\mathrm{Swish}'(x) = \sigma(\beta x)\,\left(1 + \beta x\,(1 - \sigma(\beta x))\right)"
    second_derivative_formula = (
        r"\mathrm{Swish}''(x) = \beta\,\sigma'(\beta x)\,\left(2 + \beta x\,(1 - 2\sigma(\beta x))\right)"
    )
    reference = Reference("Ramachandran, Zoph, Le", 2017, "Searching for Activation Functions", arxiv="1710.05941")

    def f(self, x: Tensor) -> Tensor:
        return sigmoid_times(self.beta * x, x)


@activation("e_swish")
class ESwish(Pointwise):
    """f(x) = β x σ(x); β = 1.375, the paper has 1 to 2.

    Steeper than SiLU by the factor β on both sides; dips to −0.2785 β at x = −1.278.

    References
    ----------
    Alcaide (2018). E-swish: Adjusting Activations to Different Network Depths, arXiv:1801.07145.
    """

    beta: float | Tensor = 1.375
    formula = r"f(x) = \beta\,x\,\sigma(x)"
    derivative_formula = r"f'(x) = \beta\,\sigma(x)\,\left(1 + x\,(1 - \sigma(x))\right)"
    second_derivative_formula = r"f''(x) = \beta\,\sigma'(x)\,\left(2 + x\,(1 - 2\sigma(x))\right)"
    reference = Reference(
        "Alcaide", 2018, "E-swish: Adjusting Activations to Different Network Depths", arxiv="1801.07145"
    )

    def f(self, x: Tensor) -> Tensor:
        return self.beta * sigmoid_times(x, x)


@activation("fts", "flatten_t_swish")
class FlattenTSwish(Pointwise):
    """f(x) = x σ(x) + T for x > 0, T for x ≤ 0; T = −0.2 as in the paper.

    SiLU on the right, flat on the left, where no gradient passes; f′ jumps at 0 from 0 to 1/2.

    References
    ----------
    Chieng, Wahid, Ong, Perla (2018). Flatten-T Swish: A Thresholded ReLU-Swish-Like Activation Function for Deep
    Learning, arXiv:1812.06247.
    """

    threshold: float | Tensor = -0.2
    formula = r"f(x) = \begin{cases} x\,\sigma(x) + T & x > 0 \\ T & x \leq 0 \end{cases},\ T = -0.2"
    derivative_formula = (
        r"f'(x) = \sigma(x)\,\left(1 + x\,(1 - \sigma(x))\right) \text{ if } x > 0,\ 0 \text{ if } x \leq 0"
    )
    second_derivative_formula = (
        r"f''(x) = \sigma'(x)\,\left(2 + x\,(1 - 2\sigma(x))\right) \text{ if } x > 0,\ 0 \text{ if } x \leq 0"
    )
    reference = Reference(
        "Chieng, Wahid, Ong, Perla",
        2018,
        "Flatten-T Swish: A Thresholded ReLU-Swish-Like Activation Function for Deep Learning",
        arxiv="1812.06247",
    )
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        above = x.clamp(min=0.0)
        return sigmoid_times(above, above) + self.threshold


@activation("acon_c", "aconc")
class ACON(Pointwise):
    """f(x) = (p₁ − p₂) x σ(β (p₁ − p₂) x) + p₂ x; p₁ = 1, p₂ = 0, β = 1 is SiLU.

    A smooth maximum of the two lines p₁x and p₂x: β → ∞ is max(p₁x, p₂x), β = 0 their mean.  The paper trains all
    three, one for each channel: `layer(channels=C)`.

    References
    ----------
    Ma, Zhang, Liu, Sun (2021). Activate or Not: Learning Customized Activation. CVPR, arXiv:2009.04759.
    """

    p1: float | Tensor = 1.0
    p2: float | Tensor = 0.0
    beta: float | Tensor = 1.0
    formula = r"f(x) = p_1 x\,\sigma(t) + p_2 x\,\sigma(-t),\ t = \beta\,(p_1 - p_2)\,x"
    derivative_formula = r"f'(x) = p_1 \sigma(t) + p_2 \sigma(-t) + (p_1 - p_2)\,t\,\sigma'(t)"
    second_derivative_formula = r"f''(x) = \beta\,(p_1 - p_2)^2\,\sigma'(t)\,\left(2 + t\,(1 - 2\sigma(t))\right)"
    reference = Reference(
        "Ma, Zhang, Liu, Sun", 2021, "Activate or Not: Learning Customized Activation. CVPR", arxiv="2009.04759"
    )
    learned = ("p1", "p2", "beta")

    def f(self, x: Tensor) -> Tensor:
        t = self.beta * (self.p1 - self.p2) * finite(x)
        # a line of slope 0 is left out, as at an infinite x it would be NaN
        lines = [(p, s) for p, s in ((self.p1, t), (self.p2, -t)) if isinstance(p, Tensor) or p != 0]
        parts = [sigmoid_times(s, p * x) for p, s in lines]
        return sum(parts[1:], parts[0]) if parts else 0.0 * t


@activation("aria2")
class ARiA2(Pointwise):
    """f(x) = x (1 + e^−βx)^−α = x σ(βx)^α; α = 1.5, β = 2 unless told otherwise.

    Swish with Richards' curve as the gate; α = 1 is Swish.  These two dip to −0.0700 at x = −0.4649.  echoAI's
    function of this name leaves the factor x out.

    Raises
    ------
    InputError
        For α that is not positive.

    References
    ----------
    Patwardhan, Ingalhalikar, Walambe (2018). ARiA: Utilizing Richard's Curve for Controlling the Non-monotonicity of
    the Activation Function in Deep Neural Nets, arXiv:1805.08878.
    """

    alpha: float | Tensor = 1.5
    beta: float | Tensor = 2.0
    formula = r"f(x) = x\,\sigma(\beta x)^{\alpha}"
    derivative_formula = r"f'(x) = \sigma(\beta x)^{\alpha}\,\left(1 + \alpha\beta x\,\sigma(-\beta x)\right)"
    second_derivative_formula = (
        r"f''(x) = \alpha\beta\,\sigma(t)^{\alpha}\,\sigma(-t)\,"
        r"\left(2 + \alpha t\,\sigma(-t) - t\,\sigma(t)\right),\ t = \beta x"
    )
    reference = Reference(
        "Patwardhan, Ingalhalikar, Walambe",
        2018,
        "ARiA: Utilizing Richard's Curve for Controlling the Non-monotonicity of the Activation Function in Deep "
        "Neural Nets",
        arxiv="1805.08878",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "alpha", lambda alpha: alpha > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        half = torch.exp(0.5 * self.alpha * F.logsigmoid(self.beta * x))  # its square may underflow before the product
        return gated(gated(x, half), half)


class _SoftClamped(Pointwise):
    limit: float | Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "limit", lambda limit: limit > 0, "a positive number")

    def _clamped(self, x: Tensor) -> Tensor:
        return self.limit * torch.tanh(x / self.limit)


@activation("softclamp_silu", "situ")
class SoftClampSiLU(_SoftClamped):
    """f(x) = L tanh(x/L) σ(x), below L; L = 4 as in x-transformers.

    SiLU whose right side levels off at L, so the product of a gated linear unit can't grow without bound.

    Raises
    ------
    InputError
        For L that is not positive.

    References
    ----------
    Wang (2026). x-transformers 2.31: soft clamped gates of a GLU, as in Kimi K3's SiTU-GLU.
    """

    limit: float | Tensor = 4.0
    formula = r"f(x) = L \tanh\left(\tfrac{x}{L}\right) \sigma(x)"
    derivative_formula = (
        r"f'(x) = \sigma(x)\,\left(1 - u^2 + L\,u\,\sigma(-x)\right),\ u = \tanh\left(\tfrac{x}{L}\right)"
    )
    second_derivative_formula = (
        r"f''(x) = -\tfrac{2}{L} u\,(1 - u^2)\,\sigma(x) + 2\,(1 - u^2)\,\sigma'(x) + L\,u\,\sigma''(x)"
    )
    reference = SITU

    def f(self, x: Tensor) -> Tensor:
        return self._clamped(x) * torch.sigmoid(x)


@activation("softclamp_gelu")
class SoftClampGELU(_SoftClamped):
    """f(x) = L tanh(x/L) Φ(x), below L; L = 4 as in x-transformers, Φ the distribution function of N(0, 1).

    GELU whose right side levels off at L.

    Raises
    ------
    InputError
        For L that is not positive.

    References
    ----------
    Wang (2026). x-transformers 2.31: soft clamped gates of a GLU, as in Kimi K3's SiTU-GLU.
    """

    limit: float | Tensor = 4.0
    formula = r"f(x) = L \tanh\left(\tfrac{x}{L}\right) \Phi(x)"
    derivative_formula = r"f'(x) = (1 - u^2)\,\Phi(x) + L\,u\,\varphi(x),\ u = \tanh\left(\tfrac{x}{L}\right)"
    second_derivative_formula = (
        r"f''(x) = -\tfrac{2}{L} u\,(1 - u^2)\,\Phi(x) + \left(2\,(1 - u^2) - L\,u\,x\right) \varphi(x)"
    )
    reference = SITU

    def f(self, x: Tensor) -> Tensor:
        return self._clamped(x) * (0.5 * torch.erfc(-(SQRT_HALF * x)))
