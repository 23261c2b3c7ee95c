"""Gated linear units: one half of the input times an activation of the other half."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from undertow.activations.autograd import rung, times
from undertow.activations.base import Pointwise, activation
from undertow.activations.coupled import Coupled
from undertow.activations.evaluate import evaluate
from undertow.activations.functions.gated import Swish
from undertow.activations.functions.gelu import GELU
from undertow.activations.functions.rectified import Identity, ReLU
from undertow.activations.functions.sigmoidal import Sigmoid
from undertow.activations.kinds import widened
from undertow.foundation import InputError, Reference

SHAZEER = Reference("Shazeer", 2020, "GLU Variants Improve Transformer", arxiv="2002.05202")
DERIVATIVE = (
    r"\frac{\partial y_i}{\partial a_j} = \delta_{ij}\,s(b_i),\ "
    r"\frac{\partial y_i}{\partial b_j} = \delta_{ij}\,a_i\,s'(b_i)"
)
SECOND_DERIVATIVE = (
    r"\frac{\partial^2 y_i}{\partial a_i\,\partial b_i} = s'(b_i),\ "
    r"\frac{\partial^2 y_i}{\partial b_i^2} = a_i\,s''(b_i),\ 0 \text{ else}"
)


class _Gated(Coupled):
    """y = a · gate(b), a the first half of x along `dim` and b the second, as in torch's `glu`.

    Keeps x alone for the backward pass, and computes gate(b) again.  float32 and float64 are rounded twice, once by
    the gate and once by the product; float16 and bfloat16 once.
    """

    gate: ClassVar[Pointwise]
    derivative_formula = DERIVATIVE
    second_derivative_formula = SECOND_DERIVATIVE
    keeps_output = widens = False

    def wide(self, x: Tensor) -> Tensor:
        return widened(x)  # no further: the gate's own evaluation is as exact as it gets

    def _value(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return super()._value(x)
        a, b = self.wide(x).chunk(2, self.dim)  # what to keep is then the compiler's choice
        return (a * rung(self.gate, 0, b)).to(x.dtype)

    def value(self, x: Tensor) -> Tensor:
        a, b = self.wide(x).chunk(2, self.dim)
        return (a * evaluate(self.gate, 0, b)).to(x.dtype)

    def pull(self, kept: Tensor, g: Tensor) -> Tensor:
        a, b = kept.chunk(2, self.dim)
        return torch.cat([g * rung(self.gate, 0, b), times(self.gate, 1, b, g * a)], self.dim)

    def push(self, kept: Tensor, t: Tensor) -> Tensor:
        (a, b), (along_a, along_b) = kept.chunk(2, self.dim), t.chunk(2, self.dim)
        return along_a * rung(self.gate, 0, b) + times(self.gate, 1, b, along_b * a)

    def _checked(self, x: Tensor) -> Tensor:
        if super()._checked(x).shape[self.dim] % 2:
            got = f"{x.shape[self.dim]} entries along dimension {self.dim} for {self.name}"
            raise InputError(got, "an even number: one half gates the other", f"{type(self).__name__}(dim=-1)")
        return x


@activation("glu", "gated linear unit")
class GLU(_Gated):
    """y = a · σ(b), a and b the two halves of x along `dim`.

    The path through a has no non-linearity: where the gate is open it passes the backward value unchanged.

    Raises
    ------
    InputError
        For an odd number of entries along `dim`.

    References
    ----------
    Dauphin, Fan, Auli, Grangier (2016). Language Modeling with Gated Convolutional Networks, arXiv:1612.08083.
    """

    dim: int = -1
    gate = Sigmoid()
    formula = r"y(a, b) = a\,s(b),\ s = \sigma"
    reference = Reference(
        "Dauphin, Fan, Auli, Grangier",
        2016,
        "Language Modeling with Gated Convolutional Networks",
        arxiv="1612.08083",
    )


@activation("reglu")
class ReGLU(_Gated):
    """y = a · max(b, 0), a and b the two halves of x along `dim`.

    Raises
    ------
    InputError
        For an odd number of entries along `dim`.

    References
    ----------
    Shazeer (2020). GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    dim: int = -1
    gate = ReLU()
    formula = r"y(a, b) = a\,s(b),\ s = \mathrm{ReLU}"
    reference = SHAZEER


@activation("geglu")
class GEGLU(_Gated):
    """y = a · GELU(b), a and b the two halves of x along `dim`; GELU the exact one.

    Raises
    ------
    InputError
        For an odd number of entries along `dim`.

    References
    ----------
    Shazeer (2020). GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    dim: int = -1
    gate = GELU()
    formula = r"y(a, b) = a\,s(b),\ s = \mathrm{GELU}"
    reference = SHAZEER


@activation("swiglu", "siglu")
class SwiGLU(_Gated):
    """y = a · SiLU(b), a and b the two halves of x along `dim`.

    The one of most large language models since 2022.  Its value grows with the square of x, and so does its slope
    with x.

    Raises
    ------
    InputError
        For an odd number of entries along `dim`.

    References
    ----------
    Shazeer (2020). GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    dim: int = -1
    gate = Swish()
    formula = r"y(a, b) = a\,s(b),\ s = \mathrm{SiLU}"
    reference = SHAZEER


@activation("bilinear")
class Bilinear(_Gated):
    """y = a · b, the two halves of x along `dim`: a gate without a non-linearity of its own.

    Raises
    ------
    InputError
        For an odd number of entries along `dim`.

    References
    ----------
    Shazeer (2020). GLU Variants Improve Transformer, arXiv:2002.05202.
    Mnih, Hinton (2007). Three New Graphical Models for Statistical Language Modelling. ICML (the bilinear model).
    """

    dim: int = -1
    gate = Identity()
    formula = r"y(a, b) = a\,b"
    derivative_formula = (
        r"\frac{\partial y_i}{\partial a_j} = \delta_{ij}\,b_i,\ \frac{\partial y_i}{\partial b_j} = \delta_{ij}\,a_i"
    )
    second_derivative_formula = r"\frac{\partial^2 y_i}{\partial a_i\,\partial b_i} = 1,\ 0 \text{ else}"
    reference = SHAZEER
