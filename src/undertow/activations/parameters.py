"""Parameters of definitions: checks that say what was wrong, and kinks that move with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from undertow.foundation import InputError

if TYPE_CHECKING:
    from undertow.activations.base import Activation

Parameter = float | Tensor
"""One number, or a tensor that may be trained: one value, or one for each channel."""


def places(*parameters: Parameter) -> tuple[float, ...]:
    """The kinks that lie at parameters, in order."""
    return tuple(sorted({v for p in parameters for v in values(p)}))


def values(p: Parameter) -> list[float]:
    return p.detach().flatten().tolist() if isinstance(p, Tensor) else [float(p)]


def require(act: Activation, name: str, holds: Callable[[float], bool], expected: str) -> None:
    """An error unless the number in this field is as expected; what training makes of a tensor is not checked."""
    value = getattr(act, name)
    if not isinstance(value, Tensor) and not holds(value):
        default = type(act).__dataclass_fields__[name].default  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError(f"{name}={value!r}", expected, f"{type(act).__name__}({name}={default!r})")
