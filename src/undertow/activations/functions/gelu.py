"""Functions that gate their input by the normal distribution function Φ, and what stands in for it: GELU."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import SQRT_2_OVER_PI, SQRT_HALF
from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import gated, sigmoid_times
from undertow.foundation import Reference

HENDRYCKS = Reference("Hendrycks, Gimpel", 2016, "Gaussian Error Linear Units (GELUs)", arxiv="1606.08415")
CUBIC = 0.044715
"""Of the tanh approximation, as printed in the paper: the double nearest to it, as in every library."""
SLOPE = 1.702
"""Of the sigmoid approximation, likewise."""
SATURATED = 40.0
"""From here on the gate of the tanh approximation is 0 or 1 in every dtype, and times the largest number still 0."""


@activation("gelu", "gelu_python", "gelu_erf", "gaussian error linear unit")
class GELU(Pointwise):
    """GELU(x) = x Φ(x) = x (1 + erf(x/√2)) / 2, Φ the distribution function of N(0, 1).

    Smooth; dips to −0.1700 at x = −0.7518, and f′ is highest at x = √2, 1.129, and lowest at −√2, −0.129.  Computed
    as x erfc(−x/√2) / 2: with 1 + erf nothing is left of the tail from x = −5.5 on in float32.

    References
    ----------
    Hendrycks, Gimpel (2016). Gaussian Error Linear Units (GELUs), arXiv:1606.08415.
    """

    formula = r"\mathrm{GELU}(x) = x\,\Phi(x) = \frac{x}{2}\left(1 + \mathrm{erf}\frac{x}{\sqrt{2}}\right)"
    derivative_formula = r"\mathrm{GELU}'(x) = \Phi(x) + x\,\varphi(x),\ \varphi(x) = \frac{e^{-x^2/2}}{\sqrt{2\pi}}"
    second_derivative_formula = r"\mathrm{GELU}''(x) = (2 - x^2)\,\varphi(x)"
    reference = HENDRYCKS

    def f(self, x: Tensor) -> Tensor:
        return gated(x, 0.5 * torch.erfc(-(SQRT_HALF * x)))


@activation("gelu_tanh", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh")
class GELUTanh(Pointwise):
    """f(x) = x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: the tanh approximation of GELU.

    Off by 4.7e-4 from GELU at most; the function of GPT-2, BERT's `gelu_new` and jax's default.  Transformers'
    `gelu_fast` has √(2/π) to ten digits, the same function to 1e-11; `gelu_accurate`, `gelu_new` and the two
    with PyTorch and Python in their names have it to all digits.  Computed as x σ(2u): 1 + tanh u loses the tail.

    References
    ----------
    Hendrycks, Gimpel (2016). Gaussian Error Linear Units (GELUs), arXiv:1606.08415.
    """

    formula = r"f(x) = \frac{x}{2}(1 + \tanh u),\ u = \sqrt{2/\pi}\,\left(x + 0.044715\,x^3\right)"
    derivative_formula = (
        r"f'(x) = \frac{1 + \tanh u}{2} + \frac{x\,u'}{2\cosh^2 u},\ u' = \sqrt{2/\pi}\,\left(1 + 0.134145\,x^2\right)"
    )
    second_derivative_formula = (
        r"f''(x) = \frac{u' + x\,u''/2 - x\,u'^2\tanh u}{\cosh^2 u},\ u'' = \sqrt{2/\pi}\;0.26829\,x"
    )
    reference = HENDRYCKS

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(-SATURATED, SATURATED)  # x³ would overflow
        return sigmoid_times(SQRT_2_OVER_PI * (2.0 * near * (1.0 + CUBIC * near.square())), x)


@activation("quick_gelu", "gelu_quick", "sigmoid_gelu")
class QuickGELU(Pointwise):
    """f(x) = x σ(1.702 x), σ(t) = 1 / (1 + e^−t): the sigmoid approximation of GELU.

    Off by 0.0203 from GELU at most; dips to −0.1636 at x = −0.7512.  The function of CLIP.  It is Swish with
    β = 1.702.

    References
    ----------
    Hendrycks, Gimpel (2016). Gaussian Error Linear Units (GELUs), arXiv:1606.08415.
    """

    formula = r"f(x) = x\,\sigma(1.702\,x)"
    derivative_formula = r"f'(x) = \sigma(t)\,\left(1 + t\,\sigma(-t)\right),\ t = 1.702\,x"
    second_derivative_formula = r"f''(x) = 1.702\,\sigma'(t)\,\left(2 + t\,(1 - 2\sigma(t))\right)"
    reference = HENDRYCKS

    def f(self, x: Tensor) -> Tensor:
        return sigmoid_times(SLOPE * x, x)


@activation("gelu_10", "clipped_gelu")
class ClippedGELU(Pointwise):
    """f(x) = min(GELU(x), 10).

    For 8-bit integers: with the range cut at 10 the negative values get codes of their own.  The lower bound −10 of
    the transformers library is never reached, since GELU ≥ −0.17.

    References
    ----------
    Wu, Judd, Zhang, Isaev, Micikevicius (2020). Integer Quantization for Deep Learning Inference: Principles and
    Empirical Evaluation, arXiv:2004.09602.
    """

    formula = r"f(x) = \min(\mathrm{GELU}(x), 10)"
    derivative_formula = r"f'(x) = \mathrm{GELU}'(x) \text{ if } x \leq 10,\ 0 \text{ if } x > 10"
    second_derivative_formula = r"f''(x) = \mathrm{GELU}''(x) \text{ if } x \leq 10,\ 0 \text{ if } x > 10"
    reference = Reference(
        "Wu, Judd, Zhang, Isaev, Micikevicius",
        2020,
        "Integer Quantization for Deep Learning Inference: Principles and Empirical Evaluation",
        arxiv="2004.09602",
    )
    kinks = (10.0,)  # GELU(10) is 10 to 24 digits

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(max=10.0)
        return gated(near, 0.5 * torch.erfc(-(SQRT_HALF * near)))
