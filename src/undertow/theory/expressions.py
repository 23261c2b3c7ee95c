"""Functions of one tensor that a model spells out in several elementwise calls: x · σ(x), relu(x)²."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.activations import Pointwise
from undertow.activations.custom import Custom
from undertow.activations.recognition.alike import POINTS, alike
from undertow.activations.recognition.elementwise import NAMES
from undertow.theory.laws import Activate, Call, Slot

ELEMENTWISE = {name.strip("_") for name in NAMES} | {"imul", "iadd", "isub", "itruediv", "rpow"}
ENDS = {"mul", "multiply", "rmul", "imul", "div", "divide", "true_divide", "truediv", "itruediv"}
"""What the spellings of gated activations end with: a product, or a quotient."""
LONGEST = 16
"""Calls of one function."""


class Expression(NamedTuple):
    """A tensor as a function of one earlier tensor."""

    root: int
    function: Callable[[Tensor], Tensor]
    length: int
    bent: bool
    """Whether it is more than a scale and a shift."""


class Expressions:
    """Per node of one forward pass, what it is a function of."""

    def __init__(self) -> None:
        self._known: dict[int, Expression] = {}

    def note(self, index: int, call: Call, sources: Sequence[int], bent: bool) -> None:
        """Keeps an elementwise call as a function of what its own inputs are functions of."""
        found = self._of(call, sources)
        if found is not None:
            self._known[index] = found._replace(bent=found.bent or bent)

    def law(self, call: Call, sources: Sequence[int]) -> tuple[Activate, int] | None:
        """The law of a call that is an activation of an earlier tensor, and which; None where it is no such thing."""
        found = self._of(call, sources)
        if found is None or not found.bent:
            return None
        definition = _defined(found.function, call.operation)
        return None if definition is None else (Activate(call.shape, activation=definition), found.root)

    def _of(self, call: Call, sources: Sequence[int]) -> Expression | None:
        """None where the call couples elements, reads several tensors, or a tensor of numbers."""
        if call.operation not in ELEMENTWISE or len({tuple(s) for s in call.given} | {call.shape}) != 1:
            return None
        arguments = (call.args, dict(call.kwargs))
        if any(isinstance(a, Tensor) and a.numel() > 1 for a in tree_leaves(arguments)):
            return None
        parts = [self._known.get(s) or Expression(s, _same, 0, False) for s in sources]
        length = sum(p.length for p in parts) + 1
        if len({p.root for p in parts}) != 1 or length > LONGEST:
            return None
        bent = any(p.bent for p in parts) or len(parts) > 1
        return Expression(parts[0].root, _Composed(call.function, arguments, tuple(parts)), length, bent)


class _Composed:
    """One call on top of the functions that give its inputs."""

    def __init__(self, function: Callable[..., Any], arguments: Any, parts: tuple[Expression, ...]) -> None:
        self._function, self._arguments, self._parts = function, arguments, parts

    def __call__(self, x: Tensor) -> Tensor:
        def fill(value: Any) -> Any:
            if isinstance(value, Slot):
                return self._parts[value.index].function(x).clone()  # the call may be in place
            return value

        args, kwargs = tree_map(fill, self._arguments)
        return self._function(*args, **kwargs)


def _same(x: Tensor) -> Tensor:
    return x


@lru_cache(maxsize=64)
def _defined(function: Callable[[Tensor], Tensor], operation: str) -> Pointwise | None:
    try:
        values = function(POINTS.clone())
    except (RuntimeError, TypeError):  # it needs a shape that a line of points has not
        return None
    if not isinstance(values, Tensor) or values.shape != POINTS.shape or not values.is_floating_point():
        return None
    with torch.no_grad():
        found = alike(values)
    if found is not None and isinstance(found.definition, Pointwise):
        return found.definition
    return Custom(operation, function)
