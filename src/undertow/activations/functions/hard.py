"""Piecewise linear stand-ins for smooth functions: hard sigmoid, hard swish, hard mish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.foundation import Reference

MOBILENET = Reference(
    "Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
    2019,
    "Searching for MobileNetV3",
    arxiv="1905.02244",
)


@activation("hardsigmoid", "hard_sigmoid")
class HardSigmoid(Pointwise):
    """f(x) = min(max(x/6 + 1/2, 0), 1), as in torch, jax and Keras 3.

    The line that stands in for the sigmoid on 8-bit hardware; exactly flat beyond ±3.

    References
    ----------
    Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam (2019). Searching for MobileNetV3,
    arXiv:1905.02244.
    """

    formula = r"f(x) = \min\left(\max\left(\tfrac{x}{6} + \tfrac{1}{2}, 0\right), 1\right)"
    derivative_formula = r"f'(x) = \tfrac{1}{6} \text{ if } -3 < x \leq 3,\ 0 \text{ otherwise}"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \pm 3"
    reference = MOBILENET
    kinks = (-3.0, 3.0)

    def f(self, x: Tensor) -> Tensor:
        return (x.clamp(-3.0, 3.0) + 3.0) / 6.0


@activation("hardswish", "hard_swish", "hard_silu", "hardsilu")
class HardSwish(Pointwise):
    """f(x) = x · min(max(x/6 + 1/2, 0), 1).

    0 up to −3, x from 3 on, a parabola between that dips to −3/8 at −3/2; f′ jumps at both ends, by 1/2.

    References
    ----------
    Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam (2019). Searching for MobileNetV3,
    arXiv:1905.02244.
    """

    formula = r"f(x) = \begin{cases} 0 & x \leq -3 \\ x\,(x + 3)/6 & -3 < x \leq 3 \\ x & x > 3 \end{cases}"
    derivative_formula = (
        r"f'(x) = 0 \text{ if } x \leq -3,\ \tfrac{2x + 3}{6} \text{ if } -3 < x \leq 3,\ 1 \text{ if } x > 3"
    )
    second_derivative_formula = r"f''(x) = \tfrac{1}{3} \text{ if } -3 < x \leq 3,\ 0 \text{ otherwise}"
    reference = MOBILENET
    kinks = (-3.0, 3.0)

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(-3.0, 3.0)
        return torch.where(x > 3.0, x, near * (near + 3.0) / 6.0)
