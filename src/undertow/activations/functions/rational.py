"""Quotients of polynomials whose coefficients are learned: the Padé activation unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from undertow.activations.base import Pointwise, activation, differentiated
from undertow.activations.functions.learnable import Learnable
from undertow.activations.parameters import Vector
from undertow.foundation import Reference


@activation("rational", "pau", "pade", "safe_pau")
class Rational(Learnable):
    """f(x) = P(x) / Q(x), P(x) = Σ_j a_j x^j, Q(x) = 1 + |Σ_k b_k x^k|: coefficients learned, never a pole.

    Degrees 5 and 4 as in the paper; other ones by the number of coefficients, b_1 being the first of the
    denominator's.  `Rational.like("gelu")` starts as another function; by itself it starts as SiLU to 3e-4 on [−3, 3],
    with the coefficients of `Rational.like("silu")` in four digits.

    Q has a kink wherever Σ b_k x^k changes its sign, 0 among them unless b_1 is 0.

    References
    ----------
    Molina, Schramowski, Kersting (2019). Padé Activation Units: End-to-end Learning of Flexible Activation Functions
    in Deep Networks, arXiv:1907.06732.
    """

    numerator: Vector = (0.0, 0.5, 0.25, 0.05326, 0.005802, 0.000275)
    denominator: Vector = (0.0, 0.1065, 0.0, 0.00055)
    formula = (
        r"f(x) = \frac{P(x)}{Q(x)},\ P(x) = \sum_{j=0}^{5} a_j x^j,\ Q(x) = 1 + \left|\sum_{k=1}^{4} b_k x^k\right|"
    )
    derivative_formula = r"f'(x) = \frac{P'(x) - f(x)\,Q'(x)}{Q(x)}"
    second_derivative_formula = r"f''(x) = \frac{P''(x) - 2 f'(x)\,Q'(x) - f(x)\,Q''(x)}{Q(x)}"
    reference = Reference(
        "Molina, Schramowski, Kersting",
        2019,
        "Padé Activation Units: End-to-end Learning of Flexible Activation Functions in Deep Networks",
        arxiv="1907.06732",
    )
    learned = ("numerator", "denominator")

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        b = self.denominator
        table = b.detach().double().cpu().reshape(len(b), -1).T.tolist() if isinstance(b, Tensor) else [b]
        return tuple(sorted({root for row in table for root in _sign_changes(row)}))

    def f(self, x: Tensor) -> Tensor:
        return self._piecewise(x, 0)

    def df(self, x: Tensor) -> Tensor:
        return self._piecewise(x, 1)

    def d2f(self, x: Tensor) -> Tensor:
        return self._piecewise(x, 2)

    def _piecewise(self, x: Tensor, order: int) -> Tensor:
        """|x| ≤ 1: powers of x.  Beyond: x^k h(1/x), whose powers don't overflow, k the difference of the degrees.

        Its derivatives are written out, since for k = 1 those of the product cancel: f″ is h″(1/x) / x³ alone.
        """
        a, b = _without_zeros(self.numerator), _without_zeros(self.denominator)
        k = len(a) - 1 - len(b)

        def near(x: Tensor) -> Tensor:
            return _polynomial(a, x) / (1 + (x * _polynomial(b, x)).abs())

        def h(t: Tensor) -> Tensor:
            return _polynomial(_reversed(a), t) / (t ** len(b) + _polynomial(_reversed(b), t).abs())

        outer = torch.where(x.abs() > 1, x, torch.ones_like(x))
        t = outer.reciprocal()
        far = differentiated(h, t, 0)
        if order == 1:
            far = k * far - t * differentiated(h, t, 1)
        if order == 2:
            far = k * (k - 1) * far - 2 * (k - 1) * t * differentiated(h, t, 1) + t.square() * differentiated(h, t, 2)
        power = k - order
        scale = 1.0 if power == 0 else outer**power if power > 0 else t**-power
        return torch.where(x.abs() > 1, far * scale, differentiated(near, x.clamp(-2.0, 2.0), order))

    @classmethod
    def _starts(cls, target: Pointwise, low: float, high: float) -> Iterator[Rational]:
        """Denominators of all powers, and of even ones only, whose sum is likelier to have one sign."""
        x = np.linspace(low, high, 401)
        for powers in ((1, 2, 3, 4), (2, 4), (2,)):
            yield cls(*_linearised(x, target(x), powers))


def _linearised(x: np.ndarray, y: np.ndarray, powers: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """The coefficients that solve P − y Σ b_k x^k = y, each time with the last denominator as the weight.

    Sanathanan, Koerner (1963). Transfer Function Synthesis as a Ratio of Two Complex Polynomials. IEEE Transactions
    on Automatic Control 8.
    """
    b = np.zeros(5)
    a = np.zeros(6)
    for _ in range(10):
        weights = 1 / (1 + np.abs(np.polyval(b[::-1], x)))
        table = np.stack([x**j for j in range(6)] + [-y * x**k for k in powers], axis=1)
        solution = np.linalg.lstsq(table * weights[:, None], y * weights, rcond=None)[0]
        a, b[list(powers)] = solution[:6], solution[6:]
    return tuple(a.tolist()), tuple(b[1:].tolist())


def _polynomial(coefficients: Sequence[float] | Tensor, x: Tensor) -> Tensor:
    """Σ c_j x^j by Horner's rule."""
    y = torch.zeros_like(x)
    for c in reversed(tuple(coefficients)):
        y = y * x + c
    return y


def _reversed(coefficients: Vector) -> Vector:
    return coefficients.flip(0) if isinstance(coefficients, Tensor) else coefficients[::-1]


def _without_zeros(coefficients: Vector) -> Vector:
    """Without the highest powers that have no part in it, which would be 0 · ∞ at infinity."""
    if isinstance(coefficients, Tensor):
        return coefficients
    n = max([0, *(i + 1 for i, c in enumerate(coefficients) if c)])  # a list: torch.compile reads no default
    return coefficients[:n]


def _sign_changes(b: Sequence[float]) -> list[float]:
    """The real places where Σ b_k x^k, k from 1 on, changes its sign."""
    polynomial = np.trim_zeros(np.array([*reversed(b), 0.0]), "f")
    roots = np.roots(polynomial) if len(polynomial) > 1 else np.empty(0)
    real = np.sort(roots[np.abs(roots.imag) <= 1e-12 * (1 + np.abs(roots))].real)
    edges = np.concatenate([[real[0] - 1], (real[1:] + real[:-1]) / 2, [real[-1] + 1]]) if len(real) else np.empty(0)
    signs = np.sign(np.polyval(polynomial, edges))
    return [float(r) for r, left, right in zip(real, signs[:-1], signs[1:], strict=True) if left * right < 0]
