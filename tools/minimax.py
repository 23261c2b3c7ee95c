"""Minimax polynomials of src/undertow/native/pointwise/math.h, by Remez' exchange in 50 digits.

`python tools/minimax.py exp|log|tail float32|float64` prints coefficients, lowest power first, rounded to the type, and
the largest weighted error that is left.  The tails in the header were fitted once more after each coefficient was
rounded (least squares of what is left), their first ones held as hi + lo; the comment there tells the error.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import cos, erfc, exp, linspace, log, lu_solve, matrix, mp, mpf, pi, polyval, sqrt

mp.dps = 50
Number = Any  # mpmath's types are made at run time
Real = Callable[[Number], Number]


def exp_tail(r: Number) -> Number:
    """((e^r − 1 − r)/r² − 1/2)/r."""
    return sum((r**k / mp.factorial(k + 3) for k in range(40)), mpf(0))


def log_tail(f: Number) -> Number:
    """(log(1 + f) − f + f²/2)/f³."""
    return sum(((-f) ** k / (k + 3) for k in range(400)), mpf(0))


def tail(k: float, middle: float) -> Real:
    """(a + K) e^{a²/2} Q(a) over m = (a − M)/(a + K)."""

    def weight(m: Number) -> Number:
        a = (middle + k * m) / (1 - m)
        return (a + k) * exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2

    return weight


def remez(f: Real, weight: Real, low: Number, high: Number, degree: int) -> list[Number]:
    """The polynomial p that makes the largest |weight·(f − p)| on [low, high] least."""
    nodes = degree + 2
    grid = [(low + high) / 2 - (high - low) / 2 * cos(pi * i / 400) for i in range(401)]
    points = [(low + high) / 2 - (high - low) / 2 * cos(pi * i / (nodes - 1)) for i in range(nodes)]
    values = [(x, f(x), weight(x)) for x in grid]
    coefficients: list[Number] = []
    for _ in range(12):
        system, right = matrix(nodes, nodes), matrix(nodes, 1)
        for i, x in enumerate(points):
            for j in range(nodes - 1):
                system[i, j] = x**j
            system[i, nodes - 1] = (-1) ** i / weight(x)
            right[i] = f(x)
        solution = lu_solve(system, right)
        coefficients = [solution[j] for j in range(nodes - 1)]
        extrema: list[tuple[Number, Number]] = []  # the largest error of each run of one sign
        for x, y, w in values:
            error = w * (y - polyval(coefficients[::-1], x))
            if not extrema or (extrema[-1][1] > 0) != (error > 0):
                extrema.append((x, error))
            elif abs(error) > abs(extrema[-1][1]):
                extrema[-1] = (x, error)
        while len(extrema) > nodes:
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        if len(extrema) < nodes:
            break
        points = [x for x, _ in extrema]
    return coefficients


def main(which: str, dtype: str) -> None:
    single = dtype == "float32"
    half = log(2) / 2 * mpf("1.01")
    cases: dict[str, tuple[Real, Real, Number, Number, int]] = {
        "exp": (exp_tail, lambda r: abs(r) ** 3 + mpf("0.0005"), -half, half, 3 if single else 9),
        "log": (log_tail, lambda f: f * f + mpf("0.001"), mpf("-0.2501"), mpf("0.5001"), 7 if single else 21),
    }
    k, middle, end = (3, 2, mpf("14.5")) if single else (6, 6, mpf("38.9"))
    weight = tail(k, middle)
    cases["tail"] = (
        weight,
        lambda m: 1 / weight(m),
        -mpf(middle) / k,
        (end - middle) / (end + k),
        10 if single else 22,
    )
    f, w, low, high, degree = cases[which]
    rounded = [mpf(float(np.dtype(dtype).type(float(c)))) for c in remez(f, w, low, high, degree)]
    worst = max(abs(w(x) * (f(x) - polyval(rounded[::-1], x))) for x in linspace(low, high, 1001))
    print(*(float(c).hex() for c in rounded), sep="\n")
    print(f"largest error 2^{float(log(worst, 2)):.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
