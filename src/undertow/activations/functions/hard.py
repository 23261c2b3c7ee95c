"""Stand-ins for smooth functions, made of lines and parabolas: hard sigmoid, hard swish, hard mish."""

from __future__ import annotations

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.functions.softplus import BLONDEL
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


@activation("hardsigmoid_onnx", "hard_sigmoid_onnx", "keras_hard_sigmoid")
class HardSigmoidONNX(Pointwise):
    """f(x) = min(max(0.2 x + 0.5, 0), 1), as ONNX has it by default, and Keras 1 and 2.

    Not torch's hard sigmoid, whose slope is 1/6; flat beyond ±2.5.

    References
    ----------
    Theano Development Team (2016). Theano: A Python Framework for Fast Computation of Mathematical Expressions,
    arXiv:1605.02688 (hard_sigmoid).
    """

    formula = r"f(x) = \min(\max(0.2\,x + 0.5, 0), 1)"
    derivative_formula = r"f'(x) = 0.2 \text{ if } -2.5 < x \leq 2.5,\ 0 \text{ otherwise}"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \pm 2.5"
    reference = Reference(
        "Theano Development Team",
        2016,
        "Theano: A Python Framework for Fast Computation of Mathematical Expressions",
        arxiv="1605.02688",
    )
    kinks = (-2.5, 2.5)

    def f(self, x: Tensor) -> Tensor:
        return (x.clamp(-2.5, 2.5) + 2.5) / 5.0


@activation("hard_mish", "hardmish")
class HardMish(Pointwise):
    """f(x) = x · min(max(x + 2, 0), 2) / 2.

    0 up to −2, x from 0 on, between them the parabola x (x + 2)/2, which dips to −1/2 at −1.  f′ jumps at −2, by −1.

    References
    ----------
    Wightman (2019). PyTorch Image Models (timm), hard_mish; the idea is H-Mish of Misra's Mish.
    """

    formula = r"f(x) = \begin{cases} 0 & x \leq -2 \\ x\,(x + 2)/2 & -2 < x \leq 0 \\ x & x > 0 \end{cases}"
    derivative_formula = r"f'(x) = 0 \text{ if } x \leq -2,\ x + 1 \text{ if } -2 < x \leq 0,\ 1 \text{ if } x > 0"
    second_derivative_formula = r"f''(x) = 1 \text{ if } -2 < x \leq 0,\ 0 \text{ otherwise}"
    reference = Reference("Wightman", 2019, "PyTorch Image Models (timm), hard_mish")
    kinks = (-2.0, 0.0)

    def f(self, x: Tensor) -> Tensor:
        near = x.clamp(-2.0, 0.0)
        return torch.where(x > 0, x, near * (near + 2.0) / 2.0)


@activation("sparse_sigmoid", "sparsesigmoid")
class SparseSigmoid(Pointwise):
    """f(x) = min(max((x + 1)/2, 0), 1).

    The sigmoid that belongs to sparsemax: the first of the two probabilities that sparsemax gives (x, 0), exactly 0
    or 1 beyond ±1.  It is the derivative of sparse plus.

    References
    ----------
    Blondel, Martins, Niculae (2020). Learning with Fenchel-Young Losses. JMLR 21, arXiv:1901.02324.
    """

    formula = r"f(x) = \min\left(\max\left(\tfrac{x + 1}{2}, 0\right), 1\right)"
    derivative_formula = r"f'(x) = \tfrac{1}{2} \text{ if } -1 < x \leq 1,\ 0 \text{ otherwise}"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } \pm 1"
    reference = BLONDEL
    kinks = (-1.0, 1.0)

    def f(self, x: Tensor) -> Tensor:
        return (x.clamp(-1.0, 1.0) + 1.0) / 2.0
