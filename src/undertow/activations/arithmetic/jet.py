"""Second-order forward differentiation of elementwise functions, one rule an operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from undertow.activations.arithmetic.chain import LINKS, Link, power
from undertow.activations.arithmetic.parts import Part, chosen, minus, over, plus, times
from undertow.activations.arithmetic.vocabulary import Duck, OutsideVocabulary


class Jet(Duck):
    """f(x), f′(x) and f″(x), the last None where it isn't wanted; over tensors or over another `Duck`."""

    rank = 1

    def __init__(self, value: Any, first: Part, second: Part | None) -> None:
        self.value, self.first, self.second = value, first, second

    @property
    def plain(self) -> Tensor:
        return plain(self.value)


def jet(function: Callable[[Any], Any], x: Any, order: int) -> Any:
    """f⁽ᵒʳᵈᵉʳ⁾(x_i) of an elementwise function, order 0, 1 or 2, at a kink from the left; x a tensor or a `Duck`.

    Raises
    ------
    OutsideVocabulary
        For an operation without a rule.
    """
    if order == 0:
        return function(x)
    y = lifted(function(Jet(x, 1.0, 0.0 if order == 2 else None)))
    part: Any = y.first if order == 1 else y.second
    if isinstance(part, float):
        part = torch.full_like(x, part)
    return torch.where(plain(x).isnan(), x, part)


def plain(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else x.plain


def lifted(x: Any) -> Jet:
    """x itself, or a constant as a jet."""
    return x if isinstance(x, Jet) else Jet(float(x) if isinstance(x, int) else x, 0.0, 0.0)


def value_of(x: Any) -> Any:
    return x.value if isinstance(x, Jet) else x


def along(link: Link) -> Callable[[Jet], Jet]:
    """The chain rule."""

    def rule(u: Jet) -> Jet:
        v = u.value
        y = link.g(v)
        d = link.g1(v, y)
        first = times(d, u.first)
        if u.second is None:
            return Jet(y, first, None)
        bend = times(link.g2(v, y, d), times(u.first, u.first))
        return Jet(y, first, plus(bend, times(d, u.second)))

    return rule


def combined(a: Jet, b: Jet, value: Any, first: Part, second: Callable[[], Part]) -> Jet:
    return Jet(value, first, None if a.second is None or b.second is None else second())


def add(a: Any, b: Any) -> Jet:
    a, b = lifted(a), lifted(b)
    return combined(a, b, a.value + b.value, plus(a.first, b.first), lambda: plus(a.second, b.second))


def sub(a: Any, b: Any) -> Jet:
    a, b = lifted(a), lifted(b)
    return combined(a, b, a.value - b.value, minus(a.first, b.first), lambda: minus(a.second, b.second))


def mul(a: Any, b: Any) -> Jet:
    a, b = lifted(a), lifted(b)

    def second() -> Part:
        across = times(2.0, times(a.first, b.first))
        return plus(plus(times(a.second, b.value), across), times(a.value, b.second))

    return combined(a, b, a.value * b.value, plus(times(a.first, b.value), times(a.value, b.first)), second)


def div(a: Any, b: Any) -> Jet:
    a, b = lifted(a), lifted(b)
    y = a.value / b.value
    first = over(minus(a.first, times(y, b.first)), b.value)

    def second() -> Part:
        rest = plus(times(2.0, times(first, b.first)), times(y, b.second))
        return over(minus(a.second, rest), b.value)

    return combined(a, b, y, first, second)


def pow_(u: Any, exponent: Any) -> Jet:
    if not isinstance(u, Jet) or not isinstance(exponent, (int, float)):
        raise OutsideVocabulary("a power whose exponent is not a number")
    if exponent in (0, 1):
        return u if exponent else Jet(u.value**0, 0.0, 0.0)
    return along(LINKS["square"] if exponent == 2 else power(exponent))(u)


def where(condition: Tensor, a: Any, b: Any) -> Jet:
    a, b = lifted(a), lifted(b)
    value = chosen(condition, a.value, b.value, a.value if isinstance(b.value, float) else b.value)
    return combined(
        a,
        b,
        value,
        chosen(condition, a.first, b.first, value),
        lambda: chosen(condition, a.second, b.second, value),
    )


def maximum(a: Any, b: Any) -> Jet:
    """At a tie the derivative from the left: the smaller one."""
    return _extreme(torch.maximum, lifted(a), lifted(b), lambda u, v: u < v)


def minimum(a: Any, b: Any) -> Jet:
    return _extreme(torch.minimum, lifted(a), lifted(b), lambda u, v: v < u)


def _extreme(pick: Callable[..., Any], a: Jet, b: Jet, before: Callable[..., Any]) -> Jet:
    value = pick(a.value, b.value)
    tied = a.value == b.value
    mine = before(b.value, a.value) | (tied & before(a.first, b.first))
    return combined(a, b, value, chosen(mine, a.first, b.first, value), lambda: chosen(mine, a.second, b.second, value))


def clamp(u: Jet, min: Any = None, max: Any = None) -> Jet:
    """Only numbers and tensors as bounds."""
    if isinstance(min, Jet) or isinstance(max, Jet):
        raise OutsideVocabulary("a bound of clamp that depends on x")
    v = u.value
    inside: Any = True
    if min is not None:
        inside = v > min
    if max is not None:
        inside = (v <= max) & inside
    first = chosen(inside, u.first, 0.0, v)
    return Jet(v.clamp(min, max), first, None if u.second is None else chosen(inside, u.second, 0.0, v))


def softplus(u: Jet, beta: float = 1.0, threshold: float = 20.0) -> Jet:
    rule = along(LINKS["softplus"])
    return rule(u) if beta == 1 else div(rule(mul(u, beta)), beta)


def of_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation whose result doesn't change with x."""
    return lambda *args: function(*(value_of(a) for a in args))


Jet.rules = {
    **{name: along(link) for name, link in LINKS.items()},
    "add": add,
    "sub": sub,
    "rsub": lambda a, b: sub(b, a),
    "mul": mul,
    "div": div,
    "rdiv": lambda a, b: div(b, a),
    "pow": pow_,
    "where": where,
    "maximum": maximum,
    "minimum": minimum,
    "clamp": clamp,
    "clamp_min": clamp,
    "clamp_max": lambda u, max: clamp(u, None, max),
    "softplus": softplus,
    "clone": lambda u: u,
    "gt": of_value(torch.gt),
    "ge": of_value(torch.ge),
    "lt": of_value(torch.lt),
    "le": of_value(torch.le),
    "eq": of_value(torch.eq),
    "ne": of_value(torch.ne),
    "isnan": of_value(torch.isnan),
    "isinf": of_value(torch.isinf),
    "zeros_like": of_value(torch.zeros_like),
    "ones_like": of_value(torch.ones_like),
    "full_like": of_value(torch.full_like),
}
