"""erf and erfc of `Twofold`, relative to 80 bits as far out as they are numbers."""

from __future__ import annotations

import torch

from undertow.activations.arithmetic.exponentials import exp
from undertow.activations.arithmetic.tables import TAYLOR_WIDE, TaylorTable, erf_table, erfcx_table
from undertow.activations.arithmetic.twofold import (
    Twofold,
    absolute,
    add,
    at,
    clamp,
    mul,
    normal,
    polynomial,
    square,
    sub,
    where,
)


def _taylor(table: TaylorTable, x: Twofold) -> Twofold:
    """The tabulated function at x ≥ 0."""
    index = (
        torch.nan_to_num(torch.log1p(x.hi) * table.per_log).round().to(torch.int64).clamp_(0, len(table.centres) - 1)
    )
    t = sub(x, table.centres[index])
    coefficients = table.coefficients
    y = polynomial(t.hi, tuple(c.hi[index] for c in coefficients[TAYLOR_WIDE:])) * t.hi
    wide = at(coefficients[TAYLOR_WIDE - 1], index)
    result = normal(wide.hi, wide.lo + y)
    for c in coefficients[TAYLOR_WIDE - 2 :: -1]:
        result = add(mul(result, t), at(c, index))
    return result


ERF_NEAR = 0.75
"""Up to here erf from its own table; beyond, 1 − erfc, which is at most 0.3."""
ERFC_LAST = 35.0
"""e^(−x²) is 0 here, even lifted."""


def _gauss(x: Twofold) -> Twofold:
    return exp(-square(x))


def erfc(a: Twofold) -> Twofold:
    size = clamp(absolute(a.settled()), max=ERFC_LAST)
    tail = mul(_gauss(size), _taylor(erfcx_table(), size))
    return where(a.hi < 0, sub(2.0, tail), tail)


def erf(a: Twofold) -> Twofold:
    size = absolute(a.settled())
    near = clamp(size, max=1.0)
    inner = mul(_gauss(near), _taylor(erf_table(), near))
    y = where(size.hi < ERF_NEAR, inner, sub(1.0, erfc(size)))
    return where(a.hi < 0, -y, y)


Twofold.rules |= {"erf": erf, "erfc": erfc}
