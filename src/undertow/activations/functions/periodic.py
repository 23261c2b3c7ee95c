"""Functions with a sine in them: the sine itself, Snake, SineReLU."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import finite
from undertow.activations.parameters import require
from undertow.foundation import Reference


@activation("sin", "sine", presets={"siren": {"omega": 30.0}})
class Sin(Pointwise):
    """f(x) = sin(ωx); ω = 1, and 30 in the paper's first layer (`siren`).

    Neither monotone nor saturating; at ±∞ there is no limit and the result is NaN.

    References
    ----------
    Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020). Implicit Neural Representations with Periodic Activation
    Functions, arXiv:2006.09661.
    """

    omega: float | Tensor = 1.0
    formula = r"f(x) = \sin(\omega x),\ \omega = 1"
    derivative_formula = r"f'(x) = \omega \cos(\omega x)"
    second_derivative_formula = r"f''(x) = -\omega^2 \sin(\omega x)"
    reference = Reference(
        "Sitzmann, Martel, Bergman, Lindell, Wetzstein",
        2020,
        "Implicit Neural Representations with Periodic Activation Functions",
        arxiv="2006.09661",
    )

    def f(self, x: Tensor) -> Tensor:
        return torch.sin(_turned(self.omega, x))


@activation("snake")
class Snake(Pointwise):
    """f(x) = x + sin²(ax) / a; a = 1.

    The identity with a wave on it: it can go on with a periodic pattern beyond the training data.  Monotone, with
    f′ from 0 to 2.

    Raises
    ------
    InputError
        For a = 0, whose limit is the identity.

    References
    ----------
    Ziyin, Hartwig, Ueda (2020). Neural Networks Fail to Learn Periodic Functions and How to Fix It,
    arXiv:2006.08195.
    """

    a: float | Tensor = 1.0
    formula = r"f(x) = x + \frac{1}{a} \sin^2(a x),\ a = 1"
    derivative_formula = r"f'(x) = 1 + \sin(2 a x)"
    second_derivative_formula = r"f''(x) = 2 a \cos(2 a x)"
    reference = Reference(
        "Ziyin, Hartwig, Ueda",
        2020,
        "Neural Networks Fail to Learn Periodic Functions and How to Fix It",
        arxiv="2006.08195",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "a", lambda a: a != 0, "a number other than 0")

    def f(self, x: Tensor) -> Tensor:
        return x + torch.sin(finite(self.a * x)).square() / self.a

    def df(self, x: Tensor) -> Tensor:
        t = _turned(self.a, x)
        return (torch.sin(t) + torch.cos(t)).square()  # 1 + sin 2t loses all digits where it touches 0


@activation("sine_relu")
class SineReLU(Pointwise):
    """f(x) = x for x > 0, ε (sin x − cos x) for x ≤ 0; ε = 0.0025.

    A small wave in the place of ReLU's 0.  At 0 it jumps from −ε to 0; at −∞ there is no limit.

    References
    ----------
    Rodrigues (2018). SineReLU: An Alternative to the ReLU Activation Function.
    """

    epsilon: float | Tensor = 0.0025
    formula = r"f(x) = \begin{cases} x & x > 0 \\ \varepsilon\,(\sin x - \cos x) & x \leq 0 \end{cases}"
    derivative_formula = r"f'(x) = 1 \text{ if } x > 0,\ \varepsilon\,(\cos x + \sin x) \text{ if } x \leq 0"
    second_derivative_formula = r"f''(x) = 0 \text{ if } x > 0,\ \varepsilon\,(\cos x - \sin x) \text{ if } x \leq 0"
    reference = Reference("Rodrigues", 2018, "SineReLU: An Alternative to the ReLU Activation Function")
    kinks = (0.0,)

    def f(self, x: Tensor) -> Tensor:
        below = x.clamp(max=0.0)
        return torch.where(x > 0, x, self.epsilon * (torch.sin(below) - torch.cos(below)))


def _turned(a: float | Tensor, x: Tensor) -> Tensor:
    """a · x, finite for a finite x, and NaN at ±∞, where a sine has no limit."""
    return finite(a * x) + (x - x)
