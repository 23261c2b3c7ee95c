"""Piecewise linear functions that are cut off: at a largest value, at both ends, or below a threshold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import between, step, zero
from undertow.activations.parameters import places, require
from undertow.foundation import Reference


@activation("relu6", "brelu", "bounded_relu", "relu_n")
class ReLU6(Pointwise):
    """ReLU6(x) = min(max(x, 0), limit); limit = 6 as in the paper.

    f′ is 1 between 0 and the limit and 0 outside: bounded, and flat at both ends.

    Raises
    ------
    InputError
        For a limit that is not positive.

    References
    ----------
    Krizhevsky (2010). Convolutional Deep Belief Networks on CIFAR-10.
    Liew, Khalil-Hani, Bakhteri (2016). Bounded activation functions for enhanced training stability of deep neural
    networks on visual pattern recognition problems. Neurocomputing 216 (any limit).
    """

    limit: float | Tensor = 6.0
    formula = r"\mathrm{ReLU6}(x) = \min(\max(x, 0), n),\ n = 6"
    derivative_formula = r"\mathrm{ReLU6}'(x) = 1 \text{ if } 0 < x \leq n,\ 0 \text{ else}"
    second_derivative_formula = r"\mathrm{ReLU6}''(x) = 0 \text{ away from } 0 \text{ and } n"
    reference = Reference("Krizhevsky", 2010, "Convolutional Deep Belief Networks on CIFAR-10")
    exact = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "limit", lambda limit: limit > 0, "a positive limit")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(0.0, self.limit)

    def f(self, x: Tensor) -> Tensor:
        return _clamped(x, 0.0, self.limit)

    def df(self, x: Tensor) -> Tensor:
        return between(x, 0.0, self.limit)

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


@activation("hardtanh", "hard_tanh")
class Hardtanh(Pointwise):
    """f(x) = min(max(x, low), high); from −1 to 1 unless told otherwise.

    The identity between the bounds, flat outside: f′ is exactly 0 there.

    Raises
    ------
    InputError
        Where low is not below high.

    References
    ----------
    Collobert (2004). Large Scale Machine Learning. PhD thesis, Université Paris VI.
    """

    low: float | Tensor = -1.0
    high: float | Tensor = 1.0
    formula = r"f(x) = \min(\max(x, l), h),\ l = -1,\ h = 1"
    derivative_formula = r"f'(x) = 1 \text{ if } l < x \leq h,\ 0 \text{ else}"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } l \text{ and } h"
    reference = Reference("Collobert", 2004, "Large Scale Machine Learning. PhD thesis, Université Paris VI")
    exact = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "low", lambda low: isinstance(self.high, Tensor) or low < self.high, "a number below high")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(self.low, self.high)

    def f(self, x: Tensor) -> Tensor:
        return _clamped(x, self.low, self.high)

    def df(self, x: Tensor) -> Tensor:
        return between(x, self.low, self.high)

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


@activation("threshold", presets={"thresholded_relu": {"threshold": 1.0, "value": 0.0}})
class Threshold(Pointwise):
    """f(x) = x for x > threshold, value for x ≤ threshold; both 0 unless told otherwise, which is ReLU.

    With another value than the threshold's own, f jumps there.  `thresholded_relu` is the one from 1 on.

    References
    ----------
    Konda, Memisevic, Krueger (2015). Zero-bias autoencoders and the benefits of co-adapting features,
    arXiv:1402.3337.
    """

    threshold: float | Tensor = 0.0
    value: float | Tensor = 0.0
    formula = r"f(x) = \begin{cases} x & x > \theta \\ v & x \leq \theta \end{cases},\ \theta = 0,\ v = 0"
    derivative_formula = r"f'(x) = 1 \text{ if } x > \theta,\ 0 \text{ if } x \leq \theta"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \theta"
    reference = Reference(
        "Konda, Memisevic, Krueger",
        2015,
        "Zero-bias autoencoders and the benefits of co-adapting features",
        arxiv="1402.3337",
    )
    exact = torch_autograd = True

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(self.threshold)

    def f(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and not self.tensors:
            return F.threshold(x, self.threshold, self.value)  # pyright: ignore[reportArgumentType]
        return torch.where(x <= self.threshold, self.value, x)  # so that NaN is passed on

    def df(self, x: Tensor) -> Tensor:
        return step(x - self.threshold)

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


def _clamped(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    if isinstance(low, Tensor) == isinstance(high, Tensor):
        return x.clamp(low, high)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return x.clamp(min=low).clamp(max=high)
