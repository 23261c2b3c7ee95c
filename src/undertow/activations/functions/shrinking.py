"""Functions that take small inputs to 0, or near to it: the shrinkages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import between, zero
from undertow.activations.parameters import is_short, places, require, values
from undertow.foundation import Reference

SERIES_UP_TO = 2.0**-9
"""x − tanh x cancels for small x.  Here the five terms of its series are right to 2^−77, and the difference, which
has lost 2^18 of its precision, to 2^−35 in float64: more than float32 asks for; float64 itself is computed wider."""


class _Shrinkage(Pointwise):
    """0 for |x| ≤ lambd."""

    lambd: float | Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "lambd", lambda lambd: lambd >= 0, "a number from 0 on")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(*(sign * v for v in values(self.lambd) for sign in (-1, 1)))

    def df(self, x: Tensor) -> Tensor:
        return 1 - between(x, -self.lambd, self.lambd)

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


@activation("softshrink", "soft_shrink", "soft thresholding")
class Softshrink(_Shrinkage):
    """f(x) = sign(x) · max(|x| − λ, 0), λ = `lambd` = 1/2.

    The proximal operator of λ|x|: it moves x towards 0 by λ, and no further than to 0.

    Raises
    ------
    InputError
        For a negative λ.

    References
    ----------
    Donoho (1995). De-Noising by Soft-Thresholding. IEEE Transactions on Information Theory 41.
    """

    lambd: float | Tensor = 0.5
    formula = r"f(x) = \mathrm{sign}(x)\,\max(|x| - \lambda, 0),\ \lambda = \tfrac{1}{2}"
    derivative_formula = r"f'(x) = 1 \text{ if } |x| > \lambda,\ 0 \text{ if } |x| < \lambda"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \pm\lambda"
    reference = Reference("Donoho", 1995, "De-Noising by Soft-Thresholding. IEEE Transactions on Information Theory 41")

    @property
    def exact(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not isinstance(self.lambd, Tensor) and is_short(self.lambd)

    def f(self, x: Tensor) -> Tensor:
        return x - x.clamp(-self.lambd, self.lambd)  # pyright: ignore[reportCallIssue, reportArgumentType]


@activation("hardshrink", "hard_shrink", "hard thresholding")
class Hardshrink(_Shrinkage):
    """f(x) = x for |x| > λ, 0 for |x| ≤ λ; λ = `lambd` = 1/2.

    Keeps large inputs as they are and so jumps at ±λ, which no derivative shows.

    Raises
    ------
    InputError
        For a negative λ.

    References
    ----------
    Donoho, Johnstone (1994). Ideal Spatial Adaptation by Wavelet Shrinkage. Biometrika 81.
    """

    lambd: float | Tensor = 0.5
    formula = r"f(x) = \begin{cases} x & |x| > \lambda \\ 0 & |x| \leq \lambda \end{cases},\ \lambda = \tfrac{1}{2}"
    derivative_formula = r"f'(x) = 1 \text{ if } |x| > \lambda,\ 0 \text{ if } |x| < \lambda"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \pm\lambda"
    reference = Reference("Donoho, Johnstone", 1994, "Ideal Spatial Adaptation by Wavelet Shrinkage. Biometrika 81")
    exact = True

    def f(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and not isinstance(self.lambd, Tensor):
            return F.hardshrink(x, self.lambd)
        return torch.where(x.abs() <= self.lambd, 0.0, x)


@activation("tanhshrink", "tanh_shrink")
class Tanhshrink(Pointwise):
    """f(x) = x − tanh x.

    x³/3 near 0 and x ∓ 1 far out; f′ = tanh² x is 0 at 0 only.

    References
    ----------
    Collobert, Kavukcuoglu, Farabet (2011). Torch7: A Matlab-like Environment for Machine Learning. BigLearn, NIPS
    Workshop.
    """

    formula = r"f(x) = x - \tanh(x)"
    derivative_formula = r"f'(x) = \tanh^2(x)"
    second_derivative_formula = r"f''(x) = 2\tanh(x)\,(1 - \tanh^2(x))"
    reference = Reference(
        "Collobert, Kavukcuoglu, Farabet",
        2011,
        "Torch7: A Matlab-like Environment for Machine Learning. BigLearn, NIPS Workshop",
    )

    def f(self, x: Tensor) -> Tensor:
        small = x.clamp(-SERIES_UP_TO, SERIES_UP_TO)
        s = small.square()
        # the Taylor coefficients of tanh, divided by the first
        series = small * s / 3 * (1 - s * (2 / 5 - s * (17 / 105 - s * (62 / 945 - s * (1382 / 51975)))))
        return torch.where(x.abs() < SERIES_UP_TO, series, x - torch.tanh(x))

    def df(self, x: Tensor) -> Tensor:
        return torch.tanh(x).square()
