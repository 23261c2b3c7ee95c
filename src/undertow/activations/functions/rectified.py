"""Functions with one kink at 0: ReLU and its square, Leaky ReLU, PReLU, RReLU; and the identity, which has none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.numerics import step, zero
from undertow.foundation import InputError, Reference


@activation("relu", "rectified linear unit")
class ReLU(Pointwise):
    """ReLU(x) = max(x, 0), with ReLU′(0) = 0.

    f′ is 1 above 0, so a chain of active units passes the backward value unchanged; below 0 it is exactly 0, and a
    unit that is below 0 for every sample receives no gradient.

    References
    ----------
    Nair, Hinton (2010). Rectified Linear Units Improve Restricted Boltzmann Machines. ICML.
    """

    formula = r"\mathrm{ReLU}(x) = \max(x, 0)"
    derivative_formula = r"\mathrm{ReLU}'(x) = 1 \text{ if } x > 0,\ 0 \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{ReLU}''(x) = 0 \text{ away from } 0"
    reference = Reference("Nair, Hinton", 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines. ICML")
    kinks = (0.0,)
    exact = torch_autograd = True

    def f(self, x: Tensor) -> Tensor:
        return torch.relu(x)

    def df(self, x: Tensor) -> Tensor:
        return step(x)

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


class _Sloped(Pointwise):
    """x above 0, slope · x below."""

    slope: float | Tensor
    kinks = (0.0,)
    exact = torch_autograd = True

    def f(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and not isinstance(self.slope, Tensor):
            return F.leaky_relu(x, self.slope)
        return torch.where(x > 0, x, self.slope * x)

    def _value(self, x: Tensor) -> Tensor:
        slope = self.slope
        fits = isinstance(slope, Tensor) and (slope.numel() == 1 or (x.ndim > 1 and slope.numel() == x.shape[1]))
        if isinstance(slope, Tensor) and fits and slope.dtype == x.dtype:
            return F.prelu(x, slope.reshape(-1))  # exact, with a backward pass as lean
        return super()._value(x)

    def df_from_output(self, y: Tensor) -> Tensor:
        """1 for y > 0, the slope for y ≤ 0 (slope ≥ 0): exact."""
        if not self.slope >= 0:
            raise InputError(f"slope={self.slope} and keep='output'", "a slope from 0 on", "keep='input'")
        return torch.where(y > 0, 1.0, self.slope).to(y.dtype)

    def df(self, x: Tensor) -> Tensor:
        return torch.where(x <= 0, self.slope, step(x))

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)


@activation("leaky_relu", "lrelu")
class LeakyReLU(_Sloped):
    """LeakyReLU(x) = x for x > 0, slope · x for x ≤ 0; slope 0.01 as in the paper.

    References
    ----------
    Maas, Hannun, Ng (2013). Rectifier Nonlinearities Improve Neural Network Acoustic Models. ICML.
    """

    slope: float | Tensor = 0.01
    formula = r"\mathrm{LeakyReLU}(x) = \begin{cases} x & x > 0 \\ a\,x & x \leq 0 \end{cases}"
    derivative_formula = r"\mathrm{LeakyReLU}'(x) = 1 \text{ if } x > 0,\ a \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{LeakyReLU}''(x) = 0 \text{ away from } 0"
    reference = Reference(
        "Maas, Hannun, Ng", 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models. ICML"
    )


@activation("prelu", "parametric relu")
class PReLU(_Sloped):
    """PReLU(x) = x for x > 0, slope · x for x ≤ 0, the slope learned from 0.25 on; its layer trains it.

    References
    ----------
    He, Zhang, Ren, Sun (2015). Delving Deep into Rectifiers, arXiv:1502.01852.
    """

    slope: float | Tensor = 0.25
    formula = r"\mathrm{PReLU}(x) = \begin{cases} x & x > 0 \\ a\,x & x \leq 0 \end{cases}"
    derivative_formula = r"\mathrm{PReLU}'(x) = 1 \text{ if } x > 0,\ a \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{PReLU}''(x) = 0 \text{ away from } 0"
    reference = Reference("He, Zhang, Ren, Sun", 2015, "Delving Deep into Rectifiers", arxiv="1502.01852")
    learned = ("slope",)


@activation("rrelu", "randomized relu", "randomised relu")
class RReLU(_Sloped):
    """RReLU(x) = x for x > 0, slope · x for x ≤ 0, slope = (lower + upper) / 2: the function of evaluation mode.

    In training the slope of each element is drawn anew from U(lower, upper), so that there it is no one function:
    `torch.nn.RReLU(...)` in training is noise around this one.

    References
    ----------
    Xu, Wang, Chen, Li (2015). Empirical Evaluation of Rectified Activations in Convolutional Network,
    arXiv:1505.00853.
    """

    lower: float | Tensor = 1 / 8
    upper: float | Tensor = 1 / 3
    formula = r"\mathrm{RReLU}(x) = \begin{cases} x & x > 0 \\ a\,x & x \leq 0 \end{cases},\ a = \frac{l + u}{2}"
    derivative_formula = r"\mathrm{RReLU}'(x) = 1 \text{ if } x > 0,\ a \text{ if } x \leq 0"
    second_derivative_formula = r"\mathrm{RReLU}''(x) = 0 \text{ away from } 0"
    reference = Reference(
        "Xu, Wang, Chen, Li",
        2015,
        "Empirical Evaluation of Rectified Activations in Convolutional Network",
        arxiv="1505.00853",
    )

    @property
    def slope(self) -> float | Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.lower + self.upper) / 2


@activation("relu_squared", "squared_relu", "relu2", "relu²")
class ReLUSquared(Pointwise):
    """f(x) = max(x, 0)².

    Unlike ReLU it has no kink in f: f′ = 2 max(x, 0) is continuous and grows without bound, so large inputs give
    large gradients.

    References
    ----------
    So, Mańke, Liu, Dai, Shazeer, Le (2021). Primer: Searching for Efficient Transformers for Language Modeling,
    arXiv:2109.08668.
    """

    formula = r"f(x) = \max(x, 0)^2"
    derivative_formula = r"f'(x) = 2 \max(x, 0)"
    second_derivative_formula = r"f''(x) = 2 \text{ if } x > 0,\ 0 \text{ if } x \leq 0"
    reference = Reference(
        "So, Mańke, Liu, Dai, Shazeer, Le",
        2021,
        "Primer: Searching for Efficient Transformers for Language Modeling",
        arxiv="2109.08668",
    )
    kinks = (0.0,)
    exact = True

    def f(self, x: Tensor) -> Tensor:
        return torch.relu(x).square()

    def df(self, x: Tensor) -> Tensor:
        return 2 * torch.relu(x)

    def d2f(self, x: Tensor) -> Tensor:
        return 2 * step(x)


@activation("identity", "linear", "none")
class Identity(Pointwise):
    """f(x) = x.

    No activation: a stack of linear layers with it is one linear layer.

    References
    ----------
    Rumelhart, Hinton, Williams (1986). Learning representations by back-propagating errors. Nature 323.
    """

    formula = r"f(x) = x"
    derivative_formula = r"f'(x) = 1"
    second_derivative_formula = r"f''(x) = 0"
    reference = Reference(
        "Rumelhart, Hinton, Williams", 1986, "Learning representations by back-propagating errors. Nature 323"
    )
    exact = torch_autograd = True

    def f(self, x: Tensor) -> Tensor:
        return x.clone()

    def df(self, x: Tensor) -> Tensor:
        return zero(x) + 1

    def d2f(self, x: Tensor) -> Tensor:
        return zero(x)
