"""Functions of a pixel and its neighbourhood: FReLU, the funnel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Activation, activation
from undertow.activations.kinds import Numeric, rounded_once, through
from undertow.activations.numerics import zero
from undertow.foundation import InputError, Reference


@activation("frelu", "funnel", "funnel relu")
class FReLU(Activation):
    """FReLU(x) = max(x, T(x)), T a depthwise 3×3 convolution with BatchNorm: the funnel.

    As a definition it holds the window with BatchNorm folded in: `window` of shape (C, 1, 3, 3) and `bias` of shape
    (C,).  `FReLU().layer(channels=C)` makes the trainable layer; its `.definition` has both.  Inputs have the shape
    (N, C, H, W) or (C, H, W).

    `derivative` is ∂y_i/∂x_i at its own pixel: 1 where x > T(x), else the window's centre weight (with x = T(x) as
    ReLU′(0) = 0 does); the neighbours' part is autograd's.

    Raises
    ------
    InputError
        Where it is called without window and bias, or on an input of another shape.

    References
    ----------
    Ma, Zhang, Sun (2020). Funnel Activation for Visual Recognition. ECCV, arXiv:2007.11824.  Not the "flexible
    ReLU" of Qiu, Xu, Cai (2018), which has the same short name.
    """

    window: Tensor | None = None
    bias: Tensor | None = None
    formula = r"\mathrm{FReLU}(x) = \max(x, T(x)), \quad T(x) = \mathrm{BN}(w \ast x)"
    derivative_formula = r"\frac{\partial y_i}{\partial x_i} = 1 \text{ if } x_i > T(x)_i, \text{ else } w_{0,0}"
    second_derivative_formula = r"\frac{\partial^2 y_i}{\partial x_i^2} = 0 \text{ away from } x_i = T(x)_i"
    reference = Reference("Ma, Zhang, Sun", 2020, "Funnel Activation for Visual Recognition. ECCV", arxiv="2007.11824")

    def __call__(self, x: Numeric) -> Numeric:
        return through(lambda t: rounded_once(lambda w: funnel(w, self.condition(w)), t), x)

    def derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: rounded_once(self._own_pixel, t), x)

    def second_derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: zero(self._checked(t)[0]), x)

    def condition(self, x: Tensor) -> Tensor:
        """T(x), of the shape of x."""
        x, window, bias = self._checked(x)
        return F.conv2d(x, window, bias, padding=1, groups=window.shape[0])

    def _own_pixel(self, x: Tensor) -> Tensor:
        x, window, _ = self._checked(x)
        return torch.where(x > self.condition(x), torch.ones_like(x), window[:, :, 1, 1, None] + zero(x))

    def _checked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.window is None:
            raise InputError(
                "frelu without a window", "a layer, whose window is learned", "activation('frelu').layer(channels=64)"
            )
        window = self.window
        if x.ndim not in (3, 4) or window.shape != (x.shape[-3], 1, 3, 3):
            raise InputError(
                f"an input of shape {tuple(x.shape)} for a window of shape {tuple(window.shape)}",
                "(N, C, H, W) or (C, H, W) with a window of shape (C, 1, 3, 3)",
                f"activation('frelu').layer(channels={x.shape[-3] if x.ndim > 2 else 64})",
            )
        bias = None if self.bias is None else self.bias.to(x)
        return x, window.to(x), bias


def funnel(x: Tensor, condition: Tensor) -> Tensor:
    """max(x, T(x)); where the two are equal the gradient goes to T(x)."""
    return torch.where(x > condition, x, condition + zero(x))  # NaN passes from either side
