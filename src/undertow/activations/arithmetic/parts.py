"""Arithmetic of the parts of a jet.

A part that is a Python float is the same at every x.  0.0 is no derivative at all: times an infinite factor it stays
0.0, where a tensor of zeros would give NaN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from undertow.activations.arithmetic.constants import Exact, fraction

Part = Any


def exactly(operation: Callable[[Any, Any], Any], a: Part, b: Part) -> Part:
    """The operation, between two numbers to 106 bits: Python itself would round 1.702 · 1.702 to 53."""
    if isinstance(a, float) and isinstance(b, float) and not torch.compiler.is_compiling():
        return Exact(operation(fraction(a), fraction(b)))
    return operation(a, b)


def is_zero(a: Part) -> bool:
    return isinstance(a, float) and a == 0.0


def plus(a: Part, b: Part) -> Part:
    if is_zero(a):
        return b
    return a if is_zero(b) else exactly(operator.add, a, b)


def minus(a: Part, b: Part) -> Part:
    if is_zero(a):
        return b if is_zero(b) else times(-1.0, b)
    return a if is_zero(b) else exactly(operator.sub, a, b)


def times(a: Part, b: Part) -> Part:
    if isinstance(a, float) and a in (0.0, 1.0):
        return b if a else 0.0
    if isinstance(b, float) and b in (0.0, 1.0):
        return a if b else 0.0
    return exactly(operator.mul, a, b)


def over(a: Part, b: Part) -> Part:
    return a if is_zero(a) else exactly(operator.truediv, a, b)


def chosen(condition: Tensor, a: Part, b: Part, like: Any) -> Part:
    """a where the condition holds, b elsewhere; `like` has the dtype and the device."""
    if isinstance(a, float) and isinstance(b, float):
        if a == b:
            return a
        a = torch.full_like(like, a)  # where(c, 1.0, 0.0) would be float32
    return torch.where(condition, a, b)
