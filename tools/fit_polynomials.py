"""Print the polynomials of `undertow/native/triton/mathematics.py`: minimax in the relative error of the result.

Least squares, reweighted by the error until it is the same everywhere; the truth has 40 digits.

    python tools/fit_polynomials.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 40
POINTS = 400
ROUNDS = 60
HALF_LN2 = 0.347  # a little beyond ln 2 / 2, as rounding may choose either neighbour
Real = Callable[[Any], Any]


def fit(function: Real, low: float, high: float, degree: int, weight: Callable[[float], float]) -> np.ndarray:
    """Coefficients from the constant on, minimax in weight · error on [low, high]."""
    nodes = np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    x = (low + high) / 2 + (high - low) / 2 * nodes
    y = np.array([float(function(mp.mpf(float(v)))) for v in x])
    w = np.array([weight(float(v)) for v in x])
    balance = np.ones(POINTS)
    coefficients, error = np.zeros(degree + 1), balance
    for _ in range(ROUNDS):
        scale = w * np.sqrt(balance)
        powers = np.vander(x, degree + 1, increasing=True) * scale[:, None]
        coefficients = np.linalg.lstsq(powers, y * scale, rcond=None)[0]
        error = np.abs((np.polyval(coefficients[::-1], x) - y) * w)
        balance *= error / error.mean() + 1e-3
        balance /= balance.mean()
    print(f"    error {error.max():.1e}")
    return coefficients


def exp_rest(r: Any) -> Any:
    return (mp.expm1(r) - r) / r**2


def log_rest(f: Any) -> Any:
    return (mp.log1p(f) - f + f * f / 2) / f**3


def erf_rest(s: Any) -> Any:
    return mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1


def erfc_rest(t: Any) -> Any:
    z = 4 * (1 + t) / (1 - t)
    return (1 + 2 * z) * mp.erfc(z) * mp.exp(z * z)


def atan_rest(s: Any) -> Any:
    return (mp.atan(mp.sqrt(s)) - mp.sqrt(s)) / mp.sqrt(s) ** 3


TABLE = {
    "exp_rest": (exp_rest, -HALF_LN2, HALF_LN2, 5, lambda r: r * r + 1e-9),
    "log_rest": (log_rest, 0.5**0.5 - 1, 2**0.5 - 1, 8, lambda f: f * f + 1e-9),
    "erf_rest": (erf_rest, 0.0, 1.0, 7, lambda s: 1.0),
    "erfc_rest": (erfc_rest, -1.0, 6.1 / 14.1, 10, lambda t: 1 / float(erfc_rest(mp.mpf(t)))),
    "atan_rest": (atan_rest, 0.0, 0.1716, 4, lambda s: s),
}

if __name__ == "__main__":
    for name, arguments in TABLE.items():
        print(name)
        print("   ", ", ".join(f"{c:.8g}" for c in fit(*arguments)))
