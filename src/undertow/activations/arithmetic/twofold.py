"""Numbers of 106 bits as the unevaluated sum of two float64 tensors, so that a result is rounded once.

Error-free transformations: Dekker (1971), A floating-point technique for extending the available precision; Knuth,
The Art of Computer Programming 2, 4.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from undertow.activations.arithmetic.parts import plus, times
from undertow.activations.arithmetic.tables import Pairs
from undertow.activations.arithmetic.vocabulary import Duck, OutsideVocabulary

UPPER = -(1 << 27)
"""Keeps 26 bits of a float64's significand; the other 27 are the difference, and the products of halves are exact."""
CHUNK = 1 << 14
"""Values at a time: a hundred tensors of them stay in the cache.  Our choice."""


class Twofold(Duck):
    """(hi + lo) · tail, with |lo| at most half an ulp of hi.

    `tail` is None, or a power of two for each element: what e^−720 has, to be a number of 106 bits too.
    """

    def __init__(self, hi: Any, lo: Any = 0.0, tail: Tensor | None = None) -> None:
        self.hi, self.lo, self.tail = hi, lo, tail

    @property
    def plain(self) -> Tensor:
        return self.hi

    def settled(self) -> Twofold:
        """The same number without a tail."""
        return self if self.tail is None else Twofold(self.hi * self.tail, self.lo * self.tail)


def twofold(function: Callable[[Any], Any], x: Tensor) -> Tensor:
    """function(x_i) for float64 x, computed in 106 bits and rounded.

    Raises
    ------
    OutsideVocabulary
        For an operation that isn't known here.
    """
    flat = x.detach().reshape(-1)
    parts = [_rounded(function, part) for part in flat.split(CHUNK)] if flat.numel() else [flat]
    return torch.cat(parts).reshape(x.shape)


def _rounded(function: Callable[[Any], Any], x: Tensor) -> Tensor:
    y = lifted(function(Twofold(x))).settled().hi
    y = y.expand_as(x) if isinstance(y, Tensor) else torch.full_like(x, y)
    zero = y == 0
    if zero.any():  # the sign of a zero is lost in hi + lo
        plain = torch.as_tensor(function(x[zero]), dtype=x.dtype).expand(int(zero.sum()))
        y = y.masked_scatter(zero, torch.where(plain == 0, plain, y[zero]))
    return y


# error-free transformations


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and what rounding it lost."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def halves(a: Any) -> tuple[Any, Any]:
    if isinstance(a, float):
        high = torch.tensor(a, dtype=torch.float64).view(torch.int64) & UPPER
        upper = high.view(torch.float64).item()
        return upper, a - upper
    upper = (a.view(torch.int64) & UPPER).view(torch.float64)
    return upper, a - upper


def two_prod(a: Any, b: Any) -> tuple[Any, Any]:
    """a · b and what rounding it lost."""
    p = a * b
    a1, a2 = halves(a)
    b1, b2 = (a1, a2) if a is b else halves(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def normal(s: Any, e: Any, tail: Tensor | None = None) -> Twofold:
    """s + e for a small e.  Beyond an infinite or NaN s there is no rest."""
    if isinstance(e, float) and e == 0.0:
        return Twofold(s, 0.0, tail)
    e = torch.nan_to_num(torch.as_tensor(e), nan=0.0, posinf=0.0, neginf=0.0)
    hi = s + e
    return Twofold(hi, e - (hi - s), tail)


def lifted(x: Any) -> Twofold:
    """x itself, or a number or tensor as a Twofold."""
    if isinstance(x, Twofold):
        return x
    return Twofold(float(x), getattr(x, "lo", 0.0)) if isinstance(x, (int, float)) else Twofold(x.double())


def at(table: Pairs, index: Tensor) -> Twofold:
    return Twofold(table.hi[index], table.lo[index])


def polynomial(t: Tensor, coefficients: Sequence[float | Tensor]) -> Tensor:
    """c₀ + c₁t + c₂t² + …, in float64."""
    y = t * coefficients[-1] + coefficients[-2]
    for c in coefficients[-3::-1]:
        y = y * t + c
    return y


# arithmetic


def add(a: Any, b: Any) -> Twofold:
    a, b, tail = _aligned(lifted(a), lifted(b))
    s, e = two_sum(a.hi, b.hi)
    return normal(s, e + plus(a.lo, b.lo), tail)


def neg(a: Twofold) -> Twofold:
    return Twofold(-a.hi, times(-1.0, a.lo), a.tail)


def sub(a: Any, b: Any) -> Twofold:
    return add(a, neg(lifted(b)))


def _aligned(a: Twofold, b: Twofold) -> tuple[Twofold, Twofold, Tensor | None]:
    if a.tail is None or b.tail is None:
        return a.settled(), b.settled(), None
    tail = torch.maximum(a.tail, b.tail)
    return Twofold(a.hi, a.lo, a.tail / tail).settled(), Twofold(b.hi, b.lo, b.tail / tail).settled(), tail


def mul(a: Any, b: Any) -> Twofold:
    a, b = lifted(a), lifted(b)
    tail = b.tail if a.tail is None else a.tail if b.tail is None else a.tail * b.tail
    for scale, other in ((a, b), (b, a)):
        if isinstance(scale.hi, float) and scale.lo == 0.0 and abs(math.frexp(scale.hi)[0]) == 0.5:  # a power of two
            return Twofold(scale.hi * other.hi, times(scale.hi, other.lo), tail)
    p, e = two_prod(a.hi, b.hi)
    return normal(p, e + plus(times(a.hi, b.lo), times(a.lo, b.hi)), tail)


def div(a: Any, b: Any) -> Twofold:
    a, b = lifted(a), lifted(b).settled()
    q = a.hi / b.hi
    p, e = two_prod(q, b.hi)
    rest = (a.hi - p) - e
    rest = plus(rest, plus(a.lo, times(-1.0, times(q, b.lo))))
    return normal(q, rest / b.hi, a.tail)


def square(a: Twofold) -> Twofold:
    p, e = two_prod(a.hi, a.hi)
    return normal(p, plus(e, times(2.0, times(a.hi, a.lo))), None if a.tail is None else a.tail * a.tail)


def power(a: Any, n: Any) -> Twofold:
    if not isinstance(a, Twofold) or not isinstance(n, (int, float)) or n != int(n):
        raise OutsideVocabulary("a power whose exponent is not a whole number")
    if n < 0:
        return div(1.0, power(a, -n))
    if n == 0:
        return Twofold(torch.ones_like(a.hi))
    root = a if n < 2 else square(power(a, n // 2))
    return mul(root, a) if n > 1 and n % 2 else root


def sqrt(a: Twofold) -> Twofold:
    a = a.settled()
    scale = torch.where(a.hi < 1e-280, 2.0**60, 1.0)  # or else the square of the root has no rest
    hi, lo = a.hi * scale * scale, times(times(a.lo, scale), scale)
    y = hi.sqrt()
    p, e = two_prod(y, y)
    root = normal(y, plus((hi - p) - e, lo) / (2 * y))
    return Twofold(root.hi / scale, root.lo / scale)


# choice


def absolute(a: Twofold) -> Twofold:
    below = a.hi < 0
    return Twofold(a.hi.abs(), times(torch.where(below, -1.0, 1.0), a.lo) if _has_rest(a) else 0.0, a.tail)


def _has_rest(a: Twofold) -> bool:
    return not (isinstance(a.lo, float) and a.lo == 0.0)


def ceil(a: Twofold) -> Twofold:
    whole = a.hi.ceil()
    return Twofold(torch.where((whole == a.hi) & more(a, whole), whole + 1.0, whole))


def where(condition: Tensor, a: Any, b: Any) -> Twofold:
    a, b = lifted(a), lifted(b)
    tail = None
    if a.tail is not None or b.tail is not None:
        tail = torch.where(condition, 1.0 if a.tail is None else a.tail, 1.0 if b.tail is None else b.tail)
    hi = _select(condition, a.hi, b.hi)
    lo = _select(condition, a.lo, b.lo) if _has_rest(a) or _has_rest(b) else 0.0
    return Twofold(hi, lo, tail)


def _select(condition: Tensor, a: Any, b: Any) -> Tensor:
    if isinstance(a, float) and isinstance(b, float):
        a = torch.tensor(a, dtype=torch.float64)
    return torch.where(condition, a, b)


def compared(strict: Callable[..., Any], at_tie: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A comparison of the hi parts, and where those are equal, of the lo parts."""

    def rule(a: Any, b: Any) -> Any:
        a, b = lifted(a).settled(), lifted(b).settled()
        if not (_has_rest(a) or _has_rest(b)):
            return at_tie(a.hi, b.hi)
        rest = torch.nan_to_num(torch.as_tensor(a.lo - b.lo), nan=0.0)
        return strict(a.hi, b.hi) | ((a.hi == b.hi) & at_tie(rest, 0.0))

    return rule


less, at_most = compared(lambda a, b: a < b, lambda a, b: a < b), compared(lambda a, b: a < b, lambda a, b: a <= b)
more, at_least = compared(lambda a, b: a > b, lambda a, b: a > b), compared(lambda a, b: a > b, lambda a, b: a >= b)


def equal(a: Any, b: Any) -> Any:
    return at_most(a, b) & at_least(a, b)


def clamp(a: Twofold, min: Any = None, max: Any = None) -> Twofold:
    if min is not None:
        a = where(less(a, min), min, a)
    return a if max is None else where(more(a, max), max, a)


def maximum(a: Any, b: Any) -> Twofold:
    a, b = lifted(a), lifted(b)
    return where(at_least(a, b) | torch.isnan(torch.as_tensor(a.hi)), a, b)


def full_like(a: Twofold, fill_value: float) -> Twofold:
    return Twofold(torch.full_like(a.hi, fill_value), getattr(fill_value, "lo", 0.0))


Twofold.rules = {
    "add": add,
    "sub": sub,
    "rsub": lambda a, b: sub(b, a),
    "neg": neg,
    "mul": mul,
    "div": div,
    "rdiv": lambda a, b: div(b, a),
    "square": square,
    "pow": power,
    "sqrt": sqrt,
    "rsqrt": lambda a: div(1.0, sqrt(a)),
    "reciprocal": lambda a: div(1.0, a),
    "abs": absolute,
    "sign": lambda a: Twofold(a.hi.sign()),
    "ceil": ceil,
    "clone": lambda a: a,
    "where": where,
    "gt": more,
    "ge": at_least,
    "lt": less,
    "le": at_most,
    "eq": equal,
    "ne": lambda a, b: ~equal(a, b),
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": lambda a, max: clamp(a, None, max),
    "relu": lambda a: clamp(a, 0.0),
    "maximum": maximum,
    "minimum": lambda a, b: neg(maximum(neg(lifted(a)), neg(lifted(b)))),
    "isnan": lambda a: a.hi.isnan(),
    "isinf": lambda a: a.hi.isinf(),
    "zeros_like": lambda a: full_like(a, 0.0),
    "ones_like": lambda a: full_like(a, 1.0),
    "full_like": full_like,
}
