"""The axes of a product of two tensors, each by a letter: batch, free in one factor, summed over."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from dataclasses import dataclass

from undertow.theory.laws.base import Call, is_signal


@dataclass(frozen=True)
class Labels:
    """Of a product with two factors; each letter an axis, as in einsum."""

    one: str
    other: str
    out: str
    sizes: Mapping[str, int]

    @property
    def swapped(self) -> Labels:
        return Labels(self.other, self.one, self.out, self.sizes)

    @property
    def summed(self) -> str:
        return "".join(a for a in self.one if a in self.other and a not in self.out)

    @property
    def free(self) -> tuple[str, str]:
        """Axes of the output that one factor alone has."""
        of_one = "".join(a for a in self.out if a in self.one and a not in self.other)
        return of_one, "".join(a for a in self.out if a in self.other and a not in self.one)

    def count(self, axes: str) -> int:
        return math.prod(self.sizes[a] for a in axes)

    def role(self, axis: str, roles: tuple[str, str]) -> str:
        """Of an axis, where the factors' axes have these roles."""
        letters, found = (self.one, roles[0]) if axis in self.one else (self.other, roles[1])
        return found[letters.index(axis)]

    def roles(self, roles: tuple[str, str]) -> str:
        """Of the output's axes."""
        return "".join(self.role(axis, roles) for axis in self.out)


def labels_of(call: Call) -> Labels | None:
    """None where the call is no product of two signals that sums over an axis that both have."""
    if call.operation == "einsum":
        found = _of_einsum(call)
    else:
        factors = [call.argument(0, "input"), call.argument(1, "other", call.kwargs.get("mat2"))]
        found = _of_matmul(*call.given) if all(map(is_signal, factors)) and len(call.given) == 2 else None
    if found is None or not found.summed:
        return None
    left_out = (set(found.one) ^ set(found.other)) - set(found.out)
    return None if left_out or any(len(set(s)) < len(s) for s in (found.one, found.other)) else found


def _of_einsum(call: Call) -> Labels | None:
    equation, *factors = call.args
    factors = list(factors[0]) if factors and isinstance(factors[0], list | tuple) else factors
    if not isinstance(equation, str) or len(factors) != 2 or not all(map(is_signal, factors)):
        return None
    given, _, out = equation.replace(" ", "").partition("->")
    if "..." in given or "->" not in equation:
        return None
    one, other = given.split(",")
    return Labels(one, other, out, _sizes(one, call.given[0]) | _sizes(other, call.given[1]))


def _of_matmul(one: tuple[int, ...], other: tuple[int, ...]) -> Labels | None:
    if len(one) < 2 or len(other) < 2:
        return None
    batch = string.ascii_uppercase[: max(len(one), len(other)) - 2]
    left, right = batch[len(batch) - len(one) + 2 :] + "id", batch[len(batch) - len(other) + 2 :] + "dj"
    wide, narrow = _sizes(left, one), _sizes(right, other)
    return Labels(left, right, batch + "ij", {a: max(wide.get(a, 1), narrow.get(a, 1)) for a in wide | narrow})


def _sizes(letters: str, shape: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(letters, shape, strict=True))
