"""Functions that are flat at both ends: sigmoid, tanh and others of their shape."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import SQRT_HALF
from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import softplus
from undertow.activations.parameters import require
from undertow.foundation import Reference

EFFICIENT = Reference(
    "LeCun, Bottou, Orr, Müller", 1998, "Efficient BackProp. In: Neural Networks: Tricks of the Trade"
)


@activation("sigmoid", "logistic", "expit")
class Sigmoid(Pointwise):
    """σ(x) = 1 / (1 + e^−x), in (0, 1).

    Steepest at 0, where σ′ = 1/4: a chain of sigmoids multiplies the backward value by at most 1/4 each.

    References
    ----------
    Rumelhart, Hinton, Williams (1986). Learning representations by back-propagating errors. Nature 323.
    """

    formula = r"\sigma(x) = \frac{1}{1 + e^{-x}}"
    derivative_formula = r"\sigma'(x) = \sigma(x)\,(1 - \sigma(x))"
    second_derivative_formula = r"\sigma''(x) = \sigma'(x)\,(1 - 2\sigma(x))"
    reference = Reference(
        "Rumelhart, Hinton, Williams", 1986, "Learning representations by back-propagating errors. Nature 323"
    )

    def f(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def df_from_output(self, y: Tensor) -> Tensor:
        """y (1 − y), within eps / 2: right of 0 that is a growing part of σ′, all of it from x = 16.6 in float32."""
        return y * (1 - y)


@activation("tanh", "hyperbolic tangent")
class Tanh(Pointwise):
    """tanh x = (e^x − e^−x) / (e^x + e^−x), in (−1, 1).

    Odd, with tanh′(0) = 1: its outputs are centred, and it is four times as steep as sigmoid.

    References
    ----------
    LeCun, Bottou, Orr, Müller (1998). Efficient BackProp. In: Neural Networks: Tricks of the Trade.
    """

    formula = r"\tanh(x) = \frac{e^{x} - e^{-x}}{e^{x} + e^{-x}}"
    derivative_formula = r"\tanh'(x) = 1 - \tanh^2(x)"
    second_derivative_formula = r"\tanh''(x) = -2\tanh(x)\,(1 - \tanh^2(x))"
    reference = EFFICIENT

    def f(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def df_from_output(self, y: Tensor) -> Tensor:
        """(1 − y)(1 + y), within eps: a growing part of tanh′ on both sides, all of it from |x| = 9.01 in float32."""
        return (1 - y) * (1 + y)


@activation("weighted_tanh", presets={"lecun_tanh": {"weight": 2 / 3, "scale": 1.7159}})
class WeightedTanh(Pointwise):
    """f(x) = s · tanh(w x), in (−s, s); w = s = 1 is tanh, w = 2/3 and s = 1.7159 is LeCun's.

    LeCun's has f(±1) = ±1, and its f″ is largest near ±1, so unit-variance inputs stay on the steep part.

    References
    ----------
    LeCun, Bottou, Orr, Müller (1998). Efficient BackProp. In: Neural Networks: Tricks of the Trade.
    """

    weight: float | Tensor = 1.0
    scale: float | Tensor = 1.0
    formula = r"f(x) = s \tanh(w x)"
    derivative_formula = r"f'(x) = s\,w\,\left(1 - \tanh^2(w x)\right)"
    second_derivative_formula = r"f''(x) = -2\,s\,w^2 \tanh(w x)\,\left(1 - \tanh^2(w x)\right)"
    reference = EFFICIENT

    def f(self, x: Tensor) -> Tensor:
        return self.scale * torch.tanh(self.weight * x)


@activation("arctan", "atan")
class ArcTan(Pointwise):
    """f(x) = arctan x, in (−π/2, π/2).

    Odd, with f′(0) = 1; f′ goes to 0 as 1/x² only, so it saturates more slowly than tanh.

    References
    ----------
    Kamruzzaman, Aziz (2002). A Note on Activation Function in Multilayer Feedforward Learning. IJCNN.
    """

    formula = r"f(x) = \arctan x"
    derivative_formula = r"f'(x) = \frac{1}{1 + x^2}"
    second_derivative_formula = r"f''(x) = \frac{-2x}{(1 + x^2)^2}"
    reference = Reference(
        "Kamruzzaman, Aziz", 2002, "A Note on Activation Function in Multilayer Feedforward Learning. IJCNN"
    )

    def f(self, x: Tensor) -> Tensor:
        return torch.atan(x)


@activation("erf", "error_function")
class Erf(Pointwise):
    """f(x) = erf x, which is 2Φ(√2 x) − 1, in (−1, 1).

    Odd; f′(0) = 2/√π = 1.1284; f′ goes to 0 as e^−x², faster than tanh's.  Its Gaussian averages have closed forms,
    so theory of wide networks likes it.

    References
    ----------
    Williams (1996). Computing with Infinite Networks. NIPS 9.
    """

    formula = r"f(x) = \mathrm{erf}(x) = \frac{2}{\sqrt{\pi}} \int_0^x e^{-t^2}\,dt"
    derivative_formula = r"f'(x) = \frac{2}{\sqrt{\pi}}\,e^{-x^2}"
    second_derivative_formula = r"f''(x) = -\frac{4 x}{\sqrt{\pi}}\,e^{-x^2}"
    reference = Reference("Williams", 1996, "Computing with Infinite Networks. NIPS 9")

    def f(self, x: Tensor) -> Tensor:
        return torch.erf(x)


@activation("soft_clipping", "soft_clip")
class SoftClipping(Pointwise):
    """f(x) = ln((1 + e^(αx)) / (1 + e^(α(x − 1)))) / α, in (0, 1); α = 1/2 unless told otherwise.

    Nearly x between 0 and 1 and flat outside, the more exactly so the larger α; f(1/2) = 1/2.

    Raises
    ------
    InputError
        For α that is not positive.

    References
    ----------
    Klimek, Perelstein (2018). Neural Network-Based Approach to Phase Space Integration, arXiv:1810.11509.
    """

    alpha: float | Tensor = 0.5
    formula = r"f(x) = \frac{1}{\alpha} \ln\frac{1 + e^{\alpha x}}{1 + e^{\alpha (x - 1)}}"
    derivative_formula = r"f'(x) = \sigma(\alpha x) - \sigma(\alpha\,(x - 1))"
    second_derivative_formula = r"f''(x) = \alpha\,\left(\sigma'(\alpha x) - \sigma'(\alpha\,(x - 1))\right)"
    reference = Reference(
        "Klimek, Perelstein", 2018, "Neural Network-Based Approach to Phase Space Integration", arxiv="1810.11509"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "alpha", lambda alpha: alpha > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        # f(1/2 + u) = 1 − f(1/2 − u): only the left half, where the two logarithms are small
        u = (x - 0.5).abs()
        left = (softplus(self.alpha * (0.5 - u)) - softplus(-self.alpha * (0.5 + u))) / self.alpha
        return torch.where(x > 0.5, 1.0 - left, left)


@activation("laplace", "laplace_attention")
class Laplace(Pointwise):
    """f(x) = (1 + erf((x − μ)/(σ√2))) / 2, in (0, 1); μ = 0.707107 and σ = 0.282095 as in the transformers library.

    The normal distribution function of mean μ and standard deviation σ.  The paper's μ = √(1/2) and σ = √(1/(4π)),
    of which these are the roundings, let it meet ReLU² at x = μ in value and slope, and stay bounded beyond.

    Raises
    ------
    InputError
        For σ that is not positive.

    References
    ----------
    Ma, Zhou, Kong, He, Gui, Neubig, May, Zettlemoyer (2022). Mega: Moving Average Equipped Gated Attention,
    arXiv:2209.10655.
    """

    mu: float | Tensor = 0.707107
    sigma: float | Tensor = 0.282095
    formula = r"f(x) = \frac{1}{2}\left(1 + \mathrm{erf}\frac{x - \mu}{\sigma\sqrt{2}}\right)"
    derivative_formula = r"f'(x) = \frac{1}{\sigma\sqrt{2\pi}}\,e^{-(x - \mu)^2 / (2\sigma^2)}"
    second_derivative_formula = r"f''(x) = -\frac{x - \mu}{\sigma^2}\,f'(x)"
    reference = Reference(
        "Ma, Zhou, Kong, He, Gui, Neubig, May, Zettlemoyer",
        2022,
        "Mega: Moving Average Equipped Gated Attention",
        arxiv="2209.10655",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "sigma", lambda sigma: sigma > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        return 0.5 * torch.erfc(SQRT_HALF * (self.mu - x) / self.sigma)
