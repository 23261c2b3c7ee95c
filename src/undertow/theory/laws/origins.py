"""Where each value of a moved tensor comes from: flat indices into its source, by strides or by a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from undertow.theory.laws.base import Call, Slot

MOST = 1 << 22
"""Values of the largest tensor of which a table of indices is made, where strides can't say it."""


@dataclass(frozen=True)
class Origins:
    """y[i, j, …] = x.flat[start + i·steps[0] + j·steps[1] + …], or x.flat[table[i, j, …]]."""

    source: tuple[int, ...]
    shape: tuple[int, ...]
    start: int = 0
    steps: tuple[int, ...] = ()
    table: Tensor | None = field(default=None, repr=False, compare=False)

    def grid(self, axes: Sequence[int]) -> Tensor:
        """Flat indices over these axes of y, the others at 0."""
        if self.table is not None:
            return self.table[tuple(slice(None) if a in axes else 0 for a in range(len(self.shape)))]
        flat = torch.tensor(self.start)
        for place, a in enumerate(axes):
            steps = torch.arange(self.shape[a]) * self.steps[a]
            flat = flat + steps.reshape(-1, *[1] * (len(axes) - place - 1))
        return flat

    def coordinates(self, flat: Tensor, source: Sequence[int]) -> list[Tensor]:
        """The indices of flat ones, per axis of a source of this (finer) shape."""
        return [flat // step % size for size, step in zip(source, strides(source), strict=True)]

    def along(self, axis: int, source: Sequence[int]) -> tuple[int, ...]:
        """The axes of the source that an axis of y runs along."""
        size = self.shape[axis]
        if self.table is None:
            step = self.steps[axis]
            return tuple(
                a
                for a, (n, one) in enumerate(zip(source, strides(source), strict=True))
                if n > 1 and size > 1 and step and (size - 1) * step >= one and step % (one * n)
            )
        if size < 2:
            return ()
        places = self.coordinates(self.grid((axis,)), source)
        return tuple(a for a, c in enumerate(places) if bool((c != c.reshape(-1)[0]).any()))

    def copies(self, roles: str) -> dict[str, int]:
        """How often a value of x is taken along axes of each role, by strides of 0."""
        found = {"S": 1, "P": 1, "F": 1}
        for size, step, role in zip(self.shape, self.steps, roles, strict=False):
            found[role] *= size if step == 0 else 1
        return found


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[a + 1 :]) for a in range(len(shape)))


def origins_of(call: Call, same: bool) -> Origins | None:
    """Of an operation on one tensor, called on a tensor without values, or on the indices; `same` keeps every value
    in its place.  None where the operation computes something else, and of a copy that is too large."""
    source = call.given[0]
    if same:
        return Origins(source, call.shape, 0, strides(call.shape)) if source == call.shape else None
    y = _called(call, torch.empty(source, device="meta"))
    if y is not None and y._base is not None:  # a view
        return Origins(source, tuple(y.shape), int(y.storage_offset()), tuple(y.stride()))
    if y is not None and tuple(y.shape) == source and y.is_contiguous() and call.operation in ("contiguous", "reshape"):
        return Origins(source, source, 0, strides(source))
    if max(math.prod(source), math.prod(call.shape)) > MOST:
        return None
    made = _called(call, torch.arange(math.prod(source), dtype=torch.float64).reshape(source))
    return None if made is None else Origins(source, call.shape, table=made.long())


def _called(call: Call, source: Tensor) -> Tensor | None:
    args, kwargs = tree_map(lambda a: source if isinstance(a, Slot) else a, (call.args, dict(call.kwargs)))
    try:
        made = call.function(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):  # not for such a tensor
        return None
    outputs = [t for t in tree_leaves(made) if isinstance(t, Tensor)]
    y: Any = outputs[call.output] if call.output < len(outputs) else None
    return y if y is not None and tuple(y.shape) == call.shape else None
