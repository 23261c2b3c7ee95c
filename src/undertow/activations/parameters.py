"""Parameters of definitions: checks that say what was wrong, and kinks that move with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from undertow.foundation import InputError

if TYPE_CHECKING:
    from undertow.activations.base import Activation

Parameter = float | Tensor
"""One number, or a tensor that may be trained: one value, or one for each channel."""
Vector = tuple[float, ...] | Tensor
"""Several numbers, or a tensor of shape (k,) or, with a column for each channel, (k, channels)."""


def is_numeric(field: Field[Any]) -> bool:
    """Whether a definition's field is a parameter that can be trained: its default is a number or several."""
    return isinstance(field.default, float) or is_vector(field)


def is_vector(field: Field[Any]) -> bool:
    default: Any = field.default
    return isinstance(default, tuple) and bool(default) and all(isinstance(v, float) for v in default)


def fits(field: Field[Any], value: object) -> bool:
    """Whether a value may stand in this numeric field."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and (not is_vector(field) or value.ndim > 0)
    if is_vector(field):
        return isinstance(value, tuple) and all(map(_is_number, value))
    return _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def places(*parameters: Parameter) -> tuple[float, ...]:
    """The kinks that lie at parameters, in order."""
    return tuple(sorted({v for p in parameters for v in values(p)}))


def values(p: Parameter) -> list[float]:
    return p.detach().flatten().tolist() if isinstance(p, Tensor) else [float(p)]


def is_short(value: float) -> bool:
    """Whether every floating point format holds this number as it is: 8 bits, and not near float16's ends."""
    mantissa, exponent = math.frexp(value)
    return value == 0 or ((mantissa * 256).is_integer() and -13 < exponent <= 15)


def require(act: Activation, name: str, holds: Callable[[float], bool], expected: str) -> None:
    """An error unless the number in this field is as expected; what training makes of a tensor is not checked."""
    value = getattr(act, name)
    if not isinstance(value, Tensor) and not holds(value):
        default = type(act).__dataclass_fields__[name].default  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError(f"{name}={value!r}", expected, f"{type(act).__name__}({name}={default!r})")
