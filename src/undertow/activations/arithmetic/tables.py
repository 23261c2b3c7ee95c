"""Tables of double-doubles for the functions of `Twofold`, computed in decimals when first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext
from functools import lru_cache, reduce, wraps
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

DIGITS = 90
"""Far more than 106 bits are 32 digits: recurrences lose some."""
T = TypeVar("T")


class Pairs(NamedTuple):
    """Double-doubles: the doubles nearest to some numbers, and the rests."""

    hi: Tensor
    lo: Tensor


def _in_decimals(make: Callable[[], T]) -> Callable[[], T]:
    @lru_cache(maxsize=1)
    @wraps(make)
    def once() -> T:
        with localcontext() as context:
            context.prec = DIGITS
            return make()

    return once


def pairs(numbers: Iterable[Decimal]) -> Pairs:
    """In float64, of the shape (count,)."""
    numbers = list(numbers)
    hi = [float(n) for n in numbers]
    lo = [float(n - Decimal(h)) for n, h in zip(numbers, hi, strict=True)]
    return Pairs(torch.tensor(hi, dtype=torch.float64), torch.tensor(lo, dtype=torch.float64))


def pieces(number: Decimal, bits: tuple[int, ...]) -> tuple[float, ...]:
    """A number as a sum of doubles of so many bits each, the last one of 53."""
    result = []
    for width in bits:
        scale = Decimal(2) ** (width - 1 - (Decimal(number).copy_abs().ln() / Decimal(2).ln()).__floor__())
        piece = (number * scale).to_integral_value() / scale
        result.append(float(piece))
        number -= piece
    return (*result, float(number))


EXP_STEPS = 2048
"""e^x is 2^(n / 2048) times an exponential of at most 1.7e-4, whose series is short."""


class ExpTable(NamedTuple):
    """2^(j / EXP_STEPS), and ln 2 / EXP_STEPS in pieces whose products with a 22-bit integer are exact."""

    powers: Pairs
    step: tuple[float, ...]


@_in_decimals
def exp_table() -> ExpTable:
    step = Decimal(2).ln() / EXP_STEPS
    return ExpTable(pairs((step * j).exp() for j in range(EXP_STEPS)), pieces(step, (31, 31)))


TAYLOR_WIDE, TAYLOR_ALL = 5, 13
"""So many coefficients of a Taylor table are double-doubles, so many there are at all."""


class TaylorTable(NamedTuple):
    """Taylor coefficients about centres that lie evenly in log(1 + x)."""

    centres: Tensor
    coefficients: tuple[Pairs, ...]
    per_log: float
    """How many centres a unit of log(1 + x) has."""


ERFC_CENTRES, ERFC_END = 512, 28
ERF_CENTRES, ERF_END = 96, 1


def _centres(count: int, end: int) -> tuple[list[float], float]:
    per_log = (count - 1) / float(Decimal(1 + end).ln())
    # 20 bits after the point, so that x − centre loses nothing
    return [round((float((Decimal(j) / Decimal(per_log)).exp()) - 1) * 2**20) / 2**20 for j in range(count)], per_log


def _taylor(centre: Decimal, value: Decimal, force: Decimal, count: int) -> list[Decimal]:
    """Coefficients about the centre of the solution of y′ = 2xy + force through (centre, value)."""
    terms = [value, 2 * centre * value + force]
    for n in range(1, count - 1):
        terms.append((2 * centre * terms[n] + 2 * terms[n - 1]) / (n + 1))
    return terms


def _march(centres: list[float], value: Decimal, force: Decimal) -> list[list[Decimal]]:
    """The Taylor coefficients at each centre in turn, each value from the series about the one before."""
    rows = []
    for here, there in zip(centres, [*centres[1:], centres[-1]], strict=True):
        terms = _taylor(Decimal(here), value, force, 60)
        rows.append(terms[:TAYLOR_ALL])
        t = Decimal(there) - Decimal(here)
        value = reduce(lambda y, term: y * t + term, reversed(terms))
    return rows


def _table(centres: list[float], rows: list[list[Decimal]], per_log: float) -> TaylorTable:
    columns = zip(*rows, strict=True)
    return TaylorTable(torch.tensor(centres, dtype=torch.float64), tuple(pairs(c) for c in columns), per_log)


@_in_decimals
def erfcx_table() -> TaylorTable:
    """e^(x²) erfc x on [0, 28]: y′ = 2xy − 2/√π, which is stable only from right to left."""
    centres, per_log = _centres(ERFC_CENTRES, ERFC_END)
    force = -2 / pi().sqrt()
    x = Decimal(centres[-1])
    term = start = 1 / (x * pi().sqrt())
    for n in range(1, 60):  # the asymptotic series, whose terms shrink until n = x²
        term *= -(2 * n - 1) / (2 * x * x)
        start += term
    rows = _march(centres[::-1], start, force)
    return _table(centres, rows[::-1], per_log)


@_in_decimals
def erf_table() -> TaylorTable:
    """e^(x²) erf x on [0, 1]: y′ = 2xy + 2/√π, y(0) = 0."""
    centres, per_log = _centres(ERF_CENTRES, ERF_END)
    return _table(centres, _march(centres, Decimal(0), 2 / pi().sqrt()), per_log)


def pi(digits: int = DIGITS) -> Decimal:
    """Machin: π = 16 atan(1/5) − 4 atan(1/239)."""

    def atan_reciprocal(n: int) -> Decimal:
        return sum((Decimal((-1) ** k) / ((2 * k + 1) * Decimal(n) ** (2 * k + 1)) for k in range(digits)), Decimal(0))

    return 16 * atan_reciprocal(5) - 4 * atan_reciprocal(239)


TURN_BITS = 1250
"""Enough for a step's multiples up to the largest float64, with 106 bits and more after the point."""


@lru_cache(maxsize=1)
def turn_in_bits() -> int:
    """2π · 2^TURN_BITS, a multiple of TURN."""
    with localcontext() as context:
        context.prec = 420  # TURN_BITS are 377 digits
        digits = 2 * pi(420) * 2**TURN_BITS
    return int(digits) // TURN * TURN


TURN = 512
"""sin and cos are tabulated at this many points of a full turn."""


class CircleTable(NamedTuple):
    """sin and cos of 2πj / TURN, and 2π / TURN in pieces whose products with a 24-bit integer are exact."""

    sin: Pairs
    cos: Pairs
    step: tuple[float, ...]


@_in_decimals
def circle_table() -> CircleTable:
    step = 2 * pi() / TURN
    sines = [_sine(step * j) for j in range(TURN // 8 + 1)]
    cosines = [(1 - s * s).sqrt() for s in sines]
    quarter = [*sines, *cosines[-2::-1]]  # sin of the first quarter turn
    half = [*quarter, *quarter[-2:0:-1]]
    turn = [*half, *(-s for s in half)]
    quarter_turn = TURN // 4
    return CircleTable(pairs(turn), pairs(turn[quarter_turn:] + turn[:quarter_turn]), pieces(step, (29, 29, 29)))


def _sine(x: Decimal) -> Decimal:
    term = total = x
    for n in range(1, 50):
        term *= -x * x / (2 * n * (2 * n + 1))
        total += term
    return total
