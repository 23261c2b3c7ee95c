"""Functions whose shape is learned with the weights: PELU, SReLU, APL.  PReLU and Swish are in their families."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation
from undertow.activations.parameters import Vector, places, require
from undertow.foundation import InputError, Reference

L = TypeVar("L", bound="Learnable")


class Learnable(Pointwise):
    """A function that can be given the shape of another before it is trained."""

    likeness: ClassVar[object] = None
    """What `like` fitted this one to, and how near it came: a `Likeness`."""

    @classmethod
    def like(cls: type[L], name: str | Pointwise, low: float = -3.0, high: float = 3.0) -> L:
        """The one nearest to another activation on [low, high]; its `likeness` says how near.

        Raises
        ------
        UnknownNameError, InputError
            For the name of no activation, one that couples elements, and an empty interval.
        """
        from undertow.activations.fitting import fitted
        from undertow.activations.lookup import activation as lookup

        target = lookup(name)
        if not isinstance(target, Pointwise):
            raise InputError(f"{target.name}, which couples several elements", "a pointwise one", "like('gelu')")
        return fitted(cls._starts(target, low, high), target, low, high)

    @classmethod
    def _starts(cls: type[L], target: Pointwise, low: float, high: float) -> Iterator[L]:
        """Where a search for the nearest may start."""
        yield cls()


@activation("pelu", "parametric elu")
class PELU(Learnable):
    """f(x) = (a/b) x for x > 0, a (e^(x/b) − 1) for x ≤ 0; a and b learned from 1 on, which is ELU.

    a is how far down it goes and b how slowly; f′ has no jump at 0 whatever they are.  The paper keeps both above 0.1
    in training.

    Raises
    ------
    InputError
        For a or b that is not positive.

    References
    ----------
    Trottier, Giguère, Chaib-draa (2016). Parametric Exponential Linear Unit for Deep Convolutional Neural Networks,
    arXiv:1605.09332.
    """

    a: float | Tensor = 1.0
    b: float | Tensor = 1.0
    formula = r"f(x) = \begin{cases} \frac{a}{b}\,x & x > 0 \\ a\,(e^{x/b} - 1) & x \leq 0 \end{cases},\ a = b = 1"
    derivative_formula = r"f'(x) = \tfrac{a}{b} \text{ if } x > 0,\ \tfrac{a}{b} e^{x/b} \text{ if } x \leq 0"
    second_derivative_formula = r"f''(x) = 0 \text{ if } x > 0,\ \tfrac{a}{b^2} e^{x/b} \text{ if } x \leq 0"
    reference = Reference(
        "Trottier, Giguère, Chaib-draa",
        2016,
        "Parametric Exponential Linear Unit for Deep Convolutional Neural Networks",
        arxiv="1605.09332",
    )
    kinks = (0.0,)
    learned = ("a", "b")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("a", "b"):
            require(self, name, lambda value: value > 0, "a positive number")

    def f(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, self.a / self.b * x, self.a * torch.expm1(x.clamp(max=0.0) / self.b))

    @classmethod
    def _starts(cls, target: Pointwise, low: float, high: float) -> Iterator[PELU]:
        yield from (cls(size, size) for size in (0.25, 1.0, 4.0))


@activation("srelu", "s-shaped relu")
class SReLU(Learnable):
    """f(x) = x between two thresholds, and a line of a slope of its own beyond each; all four learned.

    Convex, concave or S-shaped.  Here it starts as a Leaky ReLU of slope 0.2 with a second hinge at 1; the paper
    sets that one from the first epochs' inputs.

    Raises
    ------
    InputError
        Where low is above high.

    References
    ----------
    Jin, Xu, Feng, Wei, Xiong, Yan (2015). Deep Learning with S-shaped Rectified Linear Activation Units,
    arXiv:1512.07030.
    """

    low: float | Tensor = 0.0
    low_slope: float | Tensor = 0.2
    high: float | Tensor = 1.0
    high_slope: float | Tensor = 1.0
    formula = (
        r"f(x) = \begin{cases} t_l + a_l\,(x - t_l) & x \leq t_l \\ x & t_l < x \leq t_r \\ "
        r"t_r + a_r\,(x - t_r) & x > t_r \end{cases}"
    )
    derivative_formula = (
        r"f'(x) = a_l \text{ if } x \leq t_l,\ 1 \text{ if } t_l < x \leq t_r,\ a_r \text{ if } x > t_r"
    )
    second_derivative_formula = r"f''(x) = 0 \text{ away from } t_l \text{ and } t_r"
    reference = Reference(
        "Jin, Xu, Feng, Wei, Xiong, Yan",
        2015,
        "Deep Learning with S-shaped Rectified Linear Activation Units",
        arxiv="1512.07030",
    )
    learned = ("low", "low_slope", "high", "high_slope")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "low", lambda low: isinstance(self.high, Tensor) or low <= self.high, "a number up to high")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(self.low, self.high)

    def f(self, x: Tensor) -> Tensor:
        below = self.low + self.low_slope * (x - self.low)
        above = self.high + self.high_slope * (x - self.high)
        return torch.where(x > self.high, above, torch.where(x <= self.low, below, x))

    @classmethod
    def _starts(cls, target: Pointwise, low: float, high: float) -> Iterator[SReLU]:
        steps = torch.linspace(low, high, 5, dtype=torch.float64).tolist()
        hinges = sorted({k for k in target.kinks if low < k < high} | set(steps))
        left, right = (float(target.derivative(end)) for end in (low, high))
        for below, above in itertools.combinations(hinges, 2):
            yield cls(below, left, above, right)


@activation("apl", "adaptive piecewise linear")
class APL(Learnable):
    """f(x) = max(x, 0) + Σ_s a_s max(b_s − x, 0), the slopes a and hinges b learned.

    Any continuous piecewise linear function with as many hinges that is x far to the right and linear far to the
    left.  It starts as ReLU: all slopes 0, five hinges from −2 to 2.

    Raises
    ------
    InputError
        For another number of slopes than of hinges.

    References
    ----------
    Agostinelli, Hoffman, Sadowski, Baldi (2014). Learning Activation Functions to Improve Deep Neural Networks,
    arXiv:1412.6830.
    """

    slopes: Vector = (0.0, 0.0, 0.0, 0.0, 0.0)
    hinges: Vector = (-2.0, -1.0, 0.0, 1.0, 2.0)
    formula = r"f(x) = \max(x, 0) + \sum_s a_s \max(b_s - x, 0)"
    derivative_formula = r"f'(x) = [x > 0] - \sum_s a_s\,[x \leq b_s]"
    second_derivative_formula = r"f''(x) = 0 \text{ away from } 0 \text{ and the } b_s"
    reference = Reference(
        "Agostinelli, Hoffman, Sadowski, Baldi",
        2014,
        "Learning Activation Functions to Improve Deep Neural Networks",
        arxiv="1412.6830",
    )
    learned = ("slopes", "hinges")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.slopes) != len(self.hinges):
            got = f"{len(self.slopes)} slopes and {len(self.hinges)} hinges"
            raise InputError(got, "as many slopes as hinges", "APL(slopes=(0.1, 0.0), hinges=(-1.0, 1.0))")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return places(0.0, *self.hinges)

    def f(self, x: Tensor) -> Tensor:
        # left of all hinges one line: the sum of its terms would lose the b_s beside a large x, and be ∞ − ∞ at −∞
        start, slope = self._leftmost()
        inner = x.clamp(min=start)
        y = inner.clamp(min=0.0)
        for a, b in zip(self.slopes, self.hinges, strict=True):
            y = y + a * (b - inner.clamp(max=b))
        if isinstance(slope, Tensor):
            return y + torch.where(slope == 0, 0.0, slope * (x.clamp(max=start) - start))
        return y + slope * (x.clamp(max=start) - start) if slope else y

    def _leftmost(self) -> tuple[float | Tensor, float | Tensor]:
        """Where the leftmost line ends, and its slope."""
        if isinstance(self.hinges, Tensor):
            start = self.hinges.detach().amin(0).clamp(max=0.0)
        else:
            start = min((*self.hinges, 0.0))
        return start, -self.slopes.sum(0) if isinstance(self.slopes, Tensor) else -sum(self.slopes)

    @classmethod
    def _starts(cls, target: Pointwise, low: float, high: float) -> Iterator[APL]:
        """Hinges evenly over the interval, up to its end, or at the target's kinks; with the best slopes for them."""
        x = torch.linspace(low, high, 301, dtype=torch.float64)
        kinks = [k for k in target.kinks if low < k < high]
        even = torch.linspace(low, high, 7, dtype=torch.float64)[1:-1].tolist()
        # it has a kink at 0 to make up for, and with two hinges beyond the end its right side can be any line
        at_kinks = list(dict.fromkeys([*kinks, 0.0, high, 2 * high - low, *even]))[:5]
        for hinges in (even, [*even[:-1], high], at_kinks):
            table = torch.stack([(b - x).clamp(min=0.0) for b in hinges], dim=1)
            rest = (target(x) - x.clamp(min=0.0)).unsqueeze(1)
            slopes = torch.linalg.lstsq(table, rest, driver="gelsd").solution  # hinges may coincide
            yield cls(tuple(slopes.flatten().tolist()), tuple(hinges))
